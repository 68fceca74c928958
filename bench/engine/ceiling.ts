import { join } from 'node:path';
import Database from 'better-sqlite3';
import { PAYLOAD, type Source, STEPS } from './subject.ts';

/**
 * A bare journal: it writes what an engine on SQLite must at least write (start, each outcome, end), waits for the
 * commit before it goes on, and commits once per turn of the event loop. It has no replay, retries, checks or results.
 * Its signal is one commit.
 */
export const ceiling: Source = {
  name: 'ceiling',
  open: async ({ folder }) => {
    const db = new Database(join(folder, 'ceiling.db'));
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.exec(`create table run (id integer primary key, status integer, output text);
      create table event (run integer, seq integer, body text, primary key (run, seq)) without rowid`);
    const begin = db.prepare('begin immediate');
    const commit = db.prepare('commit');
    const insertRun = db.prepare('insert into run values (?, 0, null)');
    const insertEvent = db.prepare('insert into event values (?, ?, ?)');
    const finish = db.prepare('update run set status = 1, output = ? where id = ?');
    let pending: { write: () => void; done: () => void }[] = [];
    const flush = (): void => {
      const batch = pending;
      pending = [];
      begin.run();
      for (const { write } of batch) write();
      commit.run();
      for (const { done } of batch) done();
    };
    const write = (one: () => void): Promise<void> =>
      new Promise((done) => {
        if (pending.push({ write: one, done }) === 1) setImmediate(flush);
      });
    let last = 0;
    const work = async (steps: number): Promise<void> => {
      const id = ++last;
      await write(() => insertRun.run(id));
      for (let i = 0; i < steps; i++) {
        const body = JSON.stringify(PAYLOAD);
        await write(() => insertEvent.run(id, i, body));
      }
      await write(() => finish.run('1', id));
    };
    return {
      durability: { text: 'SQLite WAL, synchronous=FULL, group commit', full: true },
      steps10: () => work(STEPS),
      empty: () => work(0),
      signal: async () => {
        const id = ++last;
        return () => write(() => insertEvent.run(id, 0, JSON.stringify(PAYLOAD)));
      },
    };
  },
};
