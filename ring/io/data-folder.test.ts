import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { holdDataFolder } from './data-folder.ts';

test('a data folder is private and held by one at a time', (t) => {
  const path = join(t.testdir(), 'deep', 'data');
  const folder = holdDataFolder(path);
  t.equal(fs.statSync(path).mode & 0o777, 0o700);
  t.throws(() => holdDataFolder(path), { code: 'ERR_DATA_LOCKED' });
  folder.release();
  holdDataFolder(path).release();
  t.end();
});

test('a folder that others can enter is made private when empty, and refused otherwise', (t) => {
  const folder = t.testdir({ empty: {}, used: { file: 'x' } });
  fs.chmodSync(join(folder, 'empty'), 0o755);
  fs.chmodSync(join(folder, 'used'), 0o755);
  holdDataFolder(join(folder, 'empty')).release();
  t.equal(fs.statSync(join(folder, 'empty')).mode & 0o777, 0o700);
  t.throws(() => holdDataFolder(join(folder, 'used')), { code: 'ERR_DATA_EXPOSED' });
  t.strictSame(fs.readdirSync(join(folder, 'used')), ['file'], 'nothing was made there');
  t.end();
});

test('the hold ends with the process, however that ends', async (t) => {
  const path = join(t.testdir(), 'data');
  const code = `
    import { holdDataFolder } from ${JSON.stringify(new URL('data-folder.ts', import.meta.url).href)};
    holdDataFolder(${JSON.stringify(path)});
    // A hold that nobody refers to any more goes on all the same.
    for (let n = 0; n < 5; n++) { globalThis.gc(); await new Promise((done) => setTimeout(done, 1)); }
    console.log('held');
    setInterval(() => {}, 1000);`;
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--input-type=module-typescript', '--eval', code],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'] },
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  t.throws(() => holdDataFolder(path), { code: 'ERR_DATA_LOCKED' });
  child.kill('SIGKILL');
  await once(child, 'exit');
  holdDataFolder(path).release();
});
