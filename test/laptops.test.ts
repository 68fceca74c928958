import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { amongHosts } from './hosts.ts';

test('laptops behind routers', async (t) => {
  await amongHosts(t, fileURLToPath(new URL('laptops.testchild.ts', import.meta.url)));
});
