import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { amongHosts } from './hosts.ts';

test('a lattice whose hosts have links of their own', async (t) => {
  await amongHosts(t, fileURLToPath(new URL('hosts.testchild.ts', import.meta.url)));
});
