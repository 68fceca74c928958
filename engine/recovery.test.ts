/**
 * kill -9 during the recovery from a kill -9, at every boundary of it, and again during the recovery from that.
 *
 * One store with runs of every sort, of the first release's schema and with everything in its write-ahead log, so that
 * its recovery is all there is: log copied, schema brought forward, ownership taken, runs loaded, steps begun again.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { t as root, type Test, test } from 'tap';
import { PLACE } from './disk.testkit.ts';
import { asSchema1 } from './io/schema-1.testkit.ts';

const CHILD = join(import.meta.dirname, 'recovery.testchild.ts');
/** Recoveries that are tried side by side. */
const ABREAST = 4;
/** Boundaries of which both kills must have met one. */
const KINDS = [
  /PRAGMA journal_mode/,
  /PRAGMA wal_checkpoint/,
  /alter table run/,
  /update meta set value/,
  /insert into meta .*boot/,
  /select \* from run where true and status/,
  /select run_id as runId/,
  /before select idx as "index"/,
  /before commit/,
  /after commit/,
  /begins undo/,
  /begins round/,
  /begins child/,
  /done work/,
  /done set/,
];

const STANDING = {
  steps: 'running, step right',
  retrying: 'running, step flaky',
  sleeping: 'sleeping, sleep nap',
  q1: 'running, step work',
  q2: 'sleeping, queue narrow',
  q3: 'sleeping, queue narrow',
  parent: 'running, child-result awaited',
  awaited: 'running, step child',
  cancel: 'sleeping, sleep long',
  terminate: 'sleeping, sleep long',
  abandon: 'sleeping, sleep long',
  mended: 'stuck, stuck ERR_ENGINE_FOREIGN_AWAIT',
  lost: 'stuck, stuck ERR_ENGINE_FOREIGN_AWAIT',
  updated: 'running, condition condition, step set',
  undoing: 'running, step undo two',
  continuing: 'running, step round',
  again: 'sleeping',
  late: 'sleeping',
  limited: 'sleeping, sleep for ever',
  listening: 'sleeping, sleep busy',
  sending: 'running, step first',
  shielded: 'running, step clean up',
  'aether.schedule/even': 'running, condition condition',
};

const RESULTS = {
  steps: ['first', 'left', 'right', 'last'],
  retrying: 24,
  sleeping: 'after',
  q1: 'work',
  q2: 'work',
  q3: 'work',
  parent: 'child',
  awaited: 'child',
  cancel: 'CancelledError: workflow "cancel" was cancelled: its parent has ended',
  terminate: 'TerminatedError: workflow "terminate" was terminated: its parent has ended',
  abandon: 'child',
  mended: 'kept',
  lost: ['stuck', 'ERR_ENGINE_FOREIGN_AWAIT', 4],
  updated: ['a'],
  undoing: 'WorkflowFailedError: workflow "undoing" failed: it went wrong',
  continuing: 'round 3',
  again: 'WorkflowFailedError: workflow "again" failed: try again',
  late: 'late',
  limited: 'TimeoutError: workflow "limited" did not end in time',
  listening: ['from outside', 'from a run'],
  sending: 'child',
  shielded: 'CancelledError: workflow "shielded" was cancelled: enough',
};

interface Recovered {
  readonly outcome: {
    readonly results: object;
    readonly histories: object;
    readonly damage: string[];
  };
  readonly ticks: string[];
  readonly boundaries: string[];
}

interface Exit {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

// Some five hundred processes, a tenth of a second each.
root.setTimeout(280_000);

test(
  'killed at each boundary of the recovery, and of the recovery from that: every promise holds',
  { timeout: 270_000 },
  async (t) => {
    const place = mkdtempSync(join(PLACE, 'aether-recovery-'));
    t.teardown(() => rmSync(place, { recursive: true, force: true }));
    const base = await built(t, place);
    const undisturbed = await recovered(t, copy(base, join(place, 'undisturbed')));
    t.match(undisturbed.outcome.results, RESULTS);
    const { boundaries } = undisturbed;
    const open = boundaries.findLastIndex((name) => name.includes('as runId'));
    const struck = { first: new Set<string>(), again: new Set<string>() };
    let next = 1;
    const work = async (): Promise<void> => {
      for (let at = next++; at <= boundaries.length; at = next++) {
        const folder = copy(base, join(place, String(at)));
        // The same moment again, or any other; both while the engine opens.
        const name = boundaries[at - 1] as string;
        const same = at <= open || /^(begins|done) /.test(name);
        const kills = [String(at), ...(same ? [`=${name}`] : [])];
        if (at <= open || !same) kills.push(String(farFrom(at, boundaries.length)));
        for (const kill of kills) await run(folder, 'recover', kill);
        const [first = '', ...others] = killsOf(folder);
        t.ok(first, `${at}: it was killed`);
        struck.first.add(first);
        for (const other of others) struck.again.add(other);
        const after = await recovered(t, folder);
        t.same(after.outcome, undisturbed.outcome, `killed ${first}, then ${others.join()}`);
        checkLines(t, folder, after.ticks);
        rmSync(folder, { recursive: true });
      }
    };
    await Promise.all(Array.from({ length: ABREAST }, work));
    t.same(struck.first, new Set(boundaries), 'every boundary was tried');
    for (const [which, names] of Object.entries(struck)) {
      const missing = KINDS.filter((kind) => ![...names].some((name) => kind.test(name)));
      t.same(missing, [], `${which} kills met boundaries of every kind`);
    }
    t.comment(`${boundaries.length} boundaries`);
  },
);

/** A boundary far from the last one and the next one, so that all of them are met evenly (multiples of the golden ratio). */
function farFrom(at: number, count: number): number {
  return 1 + Math.floor(((at * 0.618034) % 1) * count);
}

/** @returns a folder with the store that is to be recovered */
async function built(t: Test, place: string): Promise<string> {
  const first = join(place, 'built');
  const base = join(place, 'base');
  mkdirSync(first);
  const exit = await run(first, 'build');
  t.equal(exit.signal, 'SIGKILL', exit.stderr);
  t.same(JSON.parse(exit.stdout), STANDING, 'runs of every sort are under way');
  cpSync(first, base, { recursive: true });
  rmSync(join(base, 'engine.db'));
  rmSync(join(base, 'engine.db-wal'));
  asSchema1(join(first, 'engine.db'), join(base, 'engine.db'), true);
  rmSync(join(base, 'engine.db.made'));
  return base;
}

function copy(from: string, to: string): string {
  cpSync(from, to, { recursive: true });
  return to;
}

async function run(folder: string, mode: string, kill = '0'): Promise<Exit> {
  const env = { ...process.env, NODE_COMPILE_CACHE: join(folder, '..', 'compiled') };
  const one = spawn(process.execPath, [CHILD, folder, mode, kill], { env });
  const [stdout, stderr, [status, signal]] = await Promise.all([
    text(one.stdout),
    text(one.stderr),
    once(one, 'exit') as Promise<[number | null, string | null]>,
  ]);
  return { status, signal, stdout, stderr };
}

async function recovered(t: Test, folder: string): Promise<Recovered> {
  const exit = await run(folder, 'recover');
  t.equal(exit.status, 0, exit.stderr);
  return JSON.parse(exit.stdout) as Recovered;
}

function linesOf(folder: string): string[] {
  return readFileSync(join(folder, 'lines'), 'utf8').trim().split('\n');
}

function killsOf(folder: string): string[] {
  const kills = linesOf(folder).filter((line) => line.startsWith('killed '));
  return kills.slice(1).map((line) => line.slice('killed '.length));
}

/** What happened outside: no step whose outcome was recorded, one key each, one owner at a time. */
function checkLines(t: Test, folder: string, ticks: string[]): void {
  const recorded = new Set<string>();
  const sinceKill = new Set<string>();
  const ticked = new Set<string>();
  let floor = '';
  let ballot = '';
  const wrong: string[] = [];
  for (const line of linesOf(folder)) {
    const [what = '', key = '', owner = '', name] = line.split(' ');
    if (what === 'recorded') recorded.add(key);
    if (what === 'killed') {
      sinceKill.clear();
      floor = ballot;
    }
    if (what !== 'effect') continue;
    if (recorded.has(key)) wrong.push(`ran although it was recorded: ${line}`);
    if (sinceKill.has(line)) wrong.push(`ran twice without a kill: ${line}`);
    if (owner <= floor || owner < ballot) wrong.push(`an old ballot: ${line}`);
    ballot = owner;
    sinceKill.add(line);
    if (name === 'tick') ticked.add(key);
  }
  t.same(wrong, []);
  t.equal(new Set(ticks).size, ticks.length, 'a time of the schedule starts one run');
  t.ok(ticked.size > 0 && ticked.size <= ticks.length, `${ticked.size} of ${ticks.length}`);
}
