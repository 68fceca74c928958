import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { newAcceptorState } from '../core/acceptor-state.ts';
import { SqliteAcceptorStore } from './acceptor-sqlite.ts';
import { openWitness, type Witness } from './witness.ts';

const skip = process.platform === 'linux' ? false : 'nothing vouches elsewhere than on Linux';

function place(t: Test): { path: string; witness: Witness } {
  const data = t.testdir();
  const witness = openWitness(`test-${process.pid}-${t.name}`.replaceAll(/[^\w-]/g, ''), data);
  if (witness === undefined) throw new Error('there is no memory to keep notes in');
  return { path: join(data, 'acceptor.db'), witness };
}

/** Opens the store, writes to it, and closes it as a process that ends does. @returns whether it was vouched for. */
async function run(path: string, witness: Witness | undefined): Promise<boolean> {
  const store = new SqliteAcceptorStore(path, witness);
  if (store.load('g') === undefined) await store.create('g', newAcceptorState(1));
  await store.write('g', [{ isRegistered: true }]);
  store.close();
  return store.isVouched;
}

test('a disk is vouched for when it is the one that was written last', { skip }, async (t) => {
  const { path, witness } = place(t);
  t.equal(await run(path, witness), false, 'the first time');
  t.equal(await run(path, witness), true);
  fs.cpSync(path, `${path}.copy`);
  t.equal(await run(path, witness), true);
  fs.renameSync(`${path}.copy`, path);
  t.equal(await run(path, witness), false, 'put back');
  t.equal(await run(path, witness), true, 'that is the last one now');
  t.equal(await run(path, undefined), false);
  t.equal(await run(path, witness), false, 'written without the witness');
});

test(
  'a disk that is put back to an earlier write of one run is not vouched for',
  { skip },
  async (t) => {
    const { path, witness } = place(t);
    const store = new SqliteAcceptorStore(path, witness);
    await store.create('g', newAcceptorState(1));
    await store.write('g', [{ isRegistered: true }]);
    for (const end of ['', '-wal', '-shm']) fs.cpSync(path + end, `${path}.copy${end}`);
    await store.write('g', [{ isRegistered: false }]);
    store.close();
    t.equal(new SqliteAcceptorStore(`${path}.copy`, witness).isVouched, false);
  },
);

test(
  'a note of another boot of the machine, or no note, vouches for nothing',
  { skip },
  async (t) => {
    const { path, witness } = place(t);
    await run(path, witness);
    const last = witness.read();
    t.match(last, { writes: 3 });
    t.equal(await run(path, { read: () => undefined, write: () => {} }), false);
  },
);

test('a note of another boot of the machine is none', { skip }, (t) => {
  const node = `test-${process.pid}-boot`;
  const witness = openWitness(node, t.testdir()) as Witness;
  const note = { opening: 'o', writes: 3 };
  witness.write(note);
  t.match(witness.read(), note);
  const path = join('/dev/shm', `aether-${process.getuid?.()}`, node);
  const kept = JSON.parse(fs.readFileSync(path, 'utf8')) as object;
  fs.writeFileSync(path, JSON.stringify({ ...kept, boot: 'another' }));
  t.equal(witness.read(), undefined);
  fs.rmSync(path);
  t.end();
});

test('notes of folders that are gone are removed', { skip }, async (t) => {
  const { witness } = place(t);
  const folder = join(t.testdirName, 'gone');
  fs.mkdirSync(folder);
  const node = `test-${process.pid}-gone`;
  const gone = openWitness(node, folder);
  gone?.write({ opening: 'x', writes: 1 });
  t.ok(gone?.read());
  fs.rmdirSync(folder);
  openWitness('any', t.testdirName);
  while (gone?.read() !== undefined) await pause(5);
  t.equal(witness.read(), undefined, 'never written');
});
