/**
 * The process that runs under faults.shim.c: WORK CONTROL TRACE faults|full|normal|leave|recover
 *
 * `faults`: fails each write and each sync of a workflow in turn, and of the recovery of the store in WORK/base, each in
 * every way, and prints a line per fault with what went wrong. `full`, `normal`: runs workflows at that durability and ends itself with SIGKILL, for the trace.
 * `leave`: ends itself while workflows are under way; `recover`: lets them end, and ends itself then.
 */
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../spec/log.ts';
import { readEntries } from './core/journal.ts';
import { Disk, readTrace } from './disk.testkit.ts';
import { Engine, type EngineProbe, workflow } from './index.ts';
import { systemClock } from './io/machine-clock.ts';
import { SqliteStore } from './io/sqlite.ts';
import { sha256 } from './io/system.ts';

const [, , work = '', controlPath = '', trace = '', mode = ''] = process.argv;

/** Watched by the shim. */
const folder = join(work, 'watched');
const image = join(work, 'image');
const path = join(folder, 'engine.db');
const acks = join(folder, 'acks');

const { ENOSPC, EIO, EROFS } = constants.errno;
const WRITES = 1;
const SYNCS = 2;
const FAULTS = [
  { name: 'ENOSPC', error: ENOSPC, kinds: WRITES },
  { name: 'EIO', error: EIO, kinds: WRITES },
  { name: 'EROFS', error: EROFS, kinds: WRITES },
  { name: 'EIO of fsync', error: EIO, kinds: SYNCS },
  { name: 'ENOSPC of fsync', error: ENOSPC, kinds: SYNCS },
];
/** The disk works again after so many errors that the engine told of. */
const ERRORS_UNTIL_MENDED = 2;
const TRIES_MAX = 50;

/** Time passes faster, so that a lost run is loaded again soon. */
const FASTER = 20;
const hasty = {
  nowMs: (): number => systemClock.nowMs() * FASTER,
  monotonicMs: (): number => systemClock.monotonicMs() * FASTER,
  after: (delayMs: number, wake: () => void): (() => void) =>
    systemClock.after(delayMs / FASTER, wake),
};

const note = (line: string): void => appendFileSync(acks, `${line}\n`);
const effect = (id: string, name: string) => (): string => {
  note(`effect ${id} ${name}`);
  return name;
};
const order = workflow('order', async (ctx) => {
  await ctx.step('reserve', effect(ctx.workflowId, 'reserve'));
  const card = await ctx.receive<string>('card');
  await ctx.sleep('nap', 1);
  await ctx.step('charge', effect(ctx.workflowId, 'charge'));
  return card;
});
const probe: EngineProbe = {
  committed: ({ workflowId, seq, kind, step = '' }) =>
    note(`committed ${workflowId} ${seq} ${kind} ${step}`),
};

const control = openSync(controlPath, 'r+');
function arm(from: number, error = 0, kinds = 0): void {
  const words = new BigInt64Array([from, error, kinds, 0].map(BigInt));
  writeSync(control, words, 0, words.byteLength, 0);
}
function disarm(): void {
  const words = new BigInt64Array([0n]);
  writeSync(control, words, 0, words.byteLength, 0);
}
function calls(): number {
  const words = new BigInt64Array(1);
  readSync(control, words, 0, words.byteLength, 24);
  return Number(words[0]);
}

/** What goes on while calls fail. */
interface Scenario {
  readonly name: string;
  readonly ids: readonly string[];
  /** In the folder before. */
  readonly files: Readonly<Record<string, Buffer>>;
}

const LEFT = ['l1', 'l2', 'l3', 'l4'];

function scenarios(): Scenario[] {
  const base = join(work, 'base');
  const files = readdirSync(base).map((name) => [name, readFileSync(join(base, name))]);
  return [
    { name: 'a workflow', ids: ['o'], files: {} },
    { name: 'a recovery', ids: LEFT, files: Object.fromEntries(files) as Scenario['files'] },
  ];
}

async function withFault(
  { ids, files }: Scenario,
  from: number,
  fault: (typeof FAULTS)[number],
): Promise<{ hit: boolean; problems: string[] }> {
  for (const file of readdirSync(folder)) rmSync(join(folder, file));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  truncateSync(trace, 0);
  let errors = 0;
  const failed = (): void => {
    if (++errors === ERRORS_UNTIL_MENDED) disarm();
  };
  const persist = async <T>(act: () => Promise<T>): Promise<T> => {
    for (let left = TRIES_MAX; ; left--) {
      try {
        return await act();
      } catch (error) {
        failed();
        if (left === 0) throw error;
      }
    }
  };
  arm(from, fault.error, fault.kinds);
  const log = { ...silentLog, error: failed };
  const engine = await persist(() =>
    Engine.open({ store: new SqliteStore(path), workflows: [order], clock: hasty, log, probe }),
  );
  const problems: string[] = [];
  for (const id of ids) {
    const handle = await persist(() => engine.start(order, undefined, { id }));
    await persist(() => handle.signal('card', 'visa', { id: 's' }));
    const result = await persist(() => handle.result());
    if (result !== 'visa') problems.push(`the result of ${id} was ${result}`);
  }
  const lines = readFileSync(acks, 'utf8').trim().split('\n');
  const { acks: _acks, ...onDisk } = files;
  const disk = new Disk(onDisk);
  for (const call of readTrace(readFileSync(trace))) disk.apply(call);
  rmSync(image, { recursive: true, force: true });
  disk.image(image);
  const hit = calls() >= from;
  disarm();
  await engine.close();
  for (const place of [image, folder]) {
    for (const id of ids) problems.push(...(await missing(place, id, lines)));
  }
  problems.push(...ranAgain(lines));
  return { hit, problems };
}

/** What was acknowledged and is not in the store of a folder. */
async function missing(place: string, id: string, lines: readonly string[]): Promise<string[]> {
  const store = new SqliteStore(join(place, 'engine.db'));
  await store.open();
  try {
    const damage = await store.verify();
    const record = await store.newest(id);
    if (record === undefined) return [`run ${id} is lost`];
    const { runId } = record;
    const events = readEntries(runId, await store.read({ runId }), sha256);
    const lost = lines.filter((line) => {
      const [what, whose, seq, kind] = line.split(' ');
      return what === 'committed' && whose === id && events[Number(seq) - 1]?.kind !== kind;
    });
    return [...damage, ...lost.map((line) => `not in ${place}: ${line}`)];
  } finally {
    await store.close();
  }
}

/** Steps that ran although their outcome was durable. */
function ranAgain(lines: readonly string[]): string[] {
  return lines.filter((line, i) => {
    const [what, id, step] = line.split(' ');
    const done = lines.findIndex(
      (other) => other.startsWith(`committed ${id} `) && other.endsWith(` step-completed ${step}`),
    );
    return what === 'effect' && done >= 0 && done < i;
  });
}

async function everyFault(): Promise<void> {
  for (const scenario of scenarios()) {
    for (const fault of FAULTS) {
      for (let from = 1; ; from++) {
        const { hit, problems } = await withFault(scenario, from, fault);
        if (!hit) break;
        const name = `${fault.name} in ${scenario.name}`;
        console.log(JSON.stringify({ fault: name, from, problems }));
      }
    }
  }
}

/** Opens twice, so that the log is copied into the file in between. */
async function runThrough(durability: 'full' | 'normal'): Promise<void> {
  for (const round of [1, 2]) {
    const store = new SqliteStore(path, { durability });
    const engine = await Engine.open({ store, workflows: [order], probe });
    const runs = Array.from({ length: 4 }, async (_, i) => {
      const handle = await engine.start(order, undefined, { id: `o${round}${i}` });
      await handle.signal('card', 'visa');
      await handle.result();
    });
    await Promise.all(runs);
    if (round === 1) await engine.close();
  }
  process.kill(process.pid, 'SIGKILL');
}

async function leave(): Promise<void> {
  const engine = await Engine.open({ store: new SqliteStore(path), workflows: [order], probe });
  for (const id of LEFT) {
    const handle = await engine.start(order, undefined, { id });
    while ((await handle.describe()).pending[0]?.kind !== 'receive') continue;
  }
  process.kill(process.pid, 'SIGKILL');
}

async function recover(): Promise<void> {
  const engine = await Engine.open({ store: new SqliteStore(path), workflows: [order], probe });
  for (const id of LEFT) {
    await engine.get(id).signal('card', 'visa');
    await engine.get(id).result();
  }
  process.kill(process.pid, 'SIGKILL');
}

mkdirSync(folder, { recursive: true });
if (mode === 'leave') await leave();
else if (mode === 'recover') await recover();
else if (mode === 'full' || mode === 'normal') await runThrough(mode);
else await everyFault();
closeSync(control);
