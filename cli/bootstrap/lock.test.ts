import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';

const LOCK = fileURLToPath(new URL('lock.cjs', import.meta.url));

function temporary(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'aether-lock-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A process that has the lock module as `lock` and the folder as `folder`. */
function holder(t: Test, folder: string, body: string): ChildProcess {
  const script = `
    const fs = require('node:fs');
    const folder = ${JSON.stringify(folder)};
    const path = folder + '/setup.lock';
    const { acquire } = require(${JSON.stringify(LOCK)});
    (async () => { ${body} })();`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

const firstLine = async (child: ChildProcess): Promise<string> => {
  const [chunk] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [
    Buffer,
  ];
  return chunk.toString().trim();
};

test('one at a time: no count is lost between processes that read, wait and write', async (t) => {
  const folder = temporary(t);
  writeFileSync(join(folder, 'count'), '0');
  const children = Array.from({ length: 4 }, () =>
    holder(
      t,
      folder,
      `for (let i = 0; i < 5; i++) {
         const lock = await acquire(path, () => {});
         const count = Number(fs.readFileSync(folder + '/count'));
         await new Promise(setImmediate);
         fs.writeFileSync(folder + '/count', String(count + 1));
         lock.release();
       }`,
    ),
  );
  await Promise.all(children.map((child) => once(child, 'exit')));
  t.equal(readFileSync(join(folder, 'count'), 'utf8'), '20');
  t.notOk(existsSync(join(folder, 'setup.lock')));
});

test('the lock of a killed process is free, but only once its child is gone too', async (t) => {
  const folder = temporary(t);
  const worker = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  t.teardown(() => worker.kill('SIGKILL'));
  const first = holder(
    t,
    folder,
    `const lock = await acquire(path, () => {});
     lock.add(${worker.pid});
     console.log('held');
     setInterval(() => {}, 1000);`,
  );
  t.equal(await firstLine(first), 'held');
  first.kill('SIGKILL');
  await once(first, 'exit');

  const second = holder(
    t,
    folder,
    `const lock = await acquire(path, (pid) => console.log('waits for ' + pid));
     fs.writeFileSync(folder + '/got', '');
     lock.release();`,
  );
  t.equal(await firstLine(second), `waits for ${worker.pid}`);
  t.notOk(existsSync(join(folder, 'got')));
  worker.kill('SIGKILL');
  await once(second, 'exit');
  t.ok(existsSync(join(folder, 'got')));
});

test(
  'a process that came to have the pid of a dead holder is not the holder',
  { skip: process.platform !== 'linux' && 'start times are read from /proc' },
  async (t) => {
    const folder = temporary(t);
    writeFileSync(join(folder, 'setup.lock'), `${process.pid}:1\n`);
    const child = holder(
      t,
      folder,
      `(await acquire(path, () => {})).release(); console.log('got');`,
    );
    t.equal(await firstLine(child), 'got');
  },
);
