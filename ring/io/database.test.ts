import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { makeDatabase, openDatabase } from './database.ts';

const CHILD = join(import.meta.dirname, 'database.testchild.ts');
const SCHEMA = 'CREATE TABLE IF NOT EXISTS row (at INTEGER PRIMARY KEY)';
const FIRST = `${SCHEMA}; INSERT INTO row VALUES (1)`;

function make(path: string): boolean {
  return makeDatabase(path, FIRST);
}

function rowsOf(path: string): unknown[] {
  const database = openDatabase(path, SCHEMA);
  const rows = database.prepare('SELECT at FROM row').pluck().all();
  database.close();
  return rows;
}

test('a database is made once, private, with its first rows', (t) => {
  const path = join(t.testdir(), 'x.db');
  t.equal(make(path), true);
  t.equal(fs.statSync(path).mode & 0o777, 0o600);
  t.same(fs.readdirSync(t.testdirName), ['x.db'], 'nothing is left beside it');
  // "The Database Header" of SQLite's file format: 2 is WAL.
  t.same([...fs.readFileSync(path).subarray(18, 20)], [2, 2], 'it is opened as it is');
  t.equal(make(path), false);
  t.same(rowsOf(path), [1]);
  t.end();
});

test('every commit is on disk, also after the first opening', (t) => {
  const path = join(t.testdir(), 'x.db');
  make(path);
  for (const opening of [1, 2]) {
    const database = openDatabase(path, SCHEMA);
    t.equal(database.pragma('journal_mode', { simple: true }), 'wal', `${opening}`);
    t.equal(database.pragma('synchronous', { simple: true }), 2, `${opening}`);
    database.close();
  }
  t.end();
});

test('tables that an earlier release had not are added', (t) => {
  const path = join(t.testdir(), 'x.db');
  make(path);
  const later = openDatabase(path, `${SCHEMA}; CREATE TABLE IF NOT EXISTS later (at INTEGER)`);
  t.equal(later.prepare('SELECT count(*) FROM later').pluck().get(), 0);
  later.close();
  t.same(rowsOf(path), [1]);
  t.end();
});

test('what a process left that ended over it is no obstacle', (t) => {
  const folder = t.testdir();
  make(join(folder, 'whole.db'));
  const whole = fs.readFileSync(join(folder, 'whole.db'));
  for (const bytes of [0, 1, 100, 4_096, whole.length]) {
    const path = join(folder, `${bytes}.db`);
    for (const end of ['', '-wal', '-journal'])
      fs.writeFileSync(`${path}.new${end}`, whole.subarray(0, bytes));
    t.equal(make(path), true, `${bytes} bytes were written`);
    t.same(rowsOf(path), [1]);
  }
  t.same(
    fs.readdirSync(folder).filter((name) => !name.endsWith('.db')),
    [],
  );
  t.end();
});

test('nothing is there of one that could not be filled', (t) => {
  const path = join(t.testdir(), 'x.db');
  t.throws(() => makeDatabase(path, `${FIRST}; NONSENSE`));
  t.equal(fs.existsSync(path), false);
  t.throws(() => openDatabase(path, SCHEMA), { code: 'SQLITE_CANTOPEN' });
  t.equal(make(path), true);
  t.same(rowsOf(path), [1]);
  t.end();
});

test('a database that a process has made before is the same again, and one of its own', (t) => {
  const folder = t.testdir();
  const [one, two] = ['one.db', 'two.db'].map((name) => join(folder, name)) as [string, string];
  for (const path of [one, two]) t.equal(make(path), true);
  t.strictSame(fs.readFileSync(one), fs.readFileSync(two));
  t.equal(fs.statSync(two).mode & 0o777, 0o600);
  const database = openDatabase(two, SCHEMA);
  database.exec('INSERT INTO row VALUES (2)');
  database.close();
  t.same([one, two].map(rowsOf), [[1], [1, 2]]);
  t.end();
});

test('the log of a database that is gone is not taken for that of the next', (t) => {
  const path = join(t.testdir(), 'x.db');
  make(path);
  const before = openDatabase(path, SCHEMA);
  before.exec('INSERT INTO row VALUES (2)');
  const log = fs.readFileSync(`${path}-wal`);
  before.close();
  fs.rmSync(path);
  fs.writeFileSync(`${path}-wal`, log);
  t.equal(make(path), true);
  t.same(rowsOf(path), [1]);
  t.end();
});

test('a process that is killed leaves whole databases, and none by halves', async (t) => {
  const folder = t.testdir();
  let before = 0;
  for (const count of [1, 2, 3, 5, 8]) {
    const child = spawn(process.execPath, [CHILD, folder]);
    let made = '';
    child.stdout.on('data', (text: Buffer) => {
      made += text.toString();
      if (made.split('\n').length > count) child.kill('SIGKILL');
    });
    await once(child, 'close');
    t.equal(child.signalCode, 'SIGKILL');
    const whole = Array.from({ length: 100 }, (_, i) => i + 1);
    const databases = fs.readdirSync(folder).filter((name) => name.endsWith('.db'));
    t.ok(databases.length >= (before += count));
    for (const name of databases) t.same(rowsOf(join(folder, name)), whole, name);
  }
});
