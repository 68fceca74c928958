import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { Staging } from './staging.ts';

test('staged bytes are found by digest until they are deleted', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aether-staging-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const staging = new Staging(join(folder, 'staging'));
  const bytes = new TextEncoder().encode('component');
  const digest = await staging.put(bytes);
  t.equal(digest, 'sha256:6985ca1f4daa5a584a28eae043a239cb96689af1337ea13afb63e00c2bf512fa');
  t.same(new Uint8Array((await staging.get(digest)) as Uint8Array), bytes);
  t.equal(await staging.put(bytes), digest, 'the same bytes again are the same file');
  t.equal(readdirSync(join(folder, 'staging')).length, 1, 'nothing partial is left');
  await staging.delete(digest);
  await staging.delete(digest);
  t.equal(await staging.get(digest), undefined);
});
