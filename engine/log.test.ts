/** What an engine says, through pino itself. */
import { pino } from 'pino';
import { test } from 'tap';
import { AetherError, Engine, FatalError, workflow } from './index.ts';
import { MemoryStore, TestEngine } from './testing.ts';

const LEVELS = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error' } as const;

interface Line {
  level: keyof typeof LEVELS;
  msg: string;
  [field: string]: unknown;
}

function listen(): { log: ReturnType<typeof pino>; lines: Line[]; text(): string } {
  const lines: Line[] = [];
  const write = (text: string): void => void lines.push(JSON.parse(text) as Line);
  return {
    log: pino({ level: 'debug' }, { write }),
    lines,
    text: () => JSON.stringify(lines),
  };
}

const said = (lines: readonly Line[]): string[] =>
  lines.map(({ level, msg }) => `${LEVELS[level]}: ${msg}`);

test('a run is told of from its start to its end, without what it carries', async (t) => {
  const heard = listen();
  const order = workflow('order', async (ctx, card: string) =>
    ctx.step('charge', ({ attempt }) => {
      if (attempt === 1) {
        throw new AetherError('no answer', { code: 'ERR_BANK', details: { card } });
      }
      return `receipt for ${card}`;
    }),
  );
  const engine = await TestEngine.open({ workflows: [order], log: heard.log });
  const handle = await engine.start(order, 'card of Ada', { id: 'o1' });
  await handle.result();
  const { runId } = await handle.describe();
  await engine.close();
  t.same(said(heard.lines), [
    'info: engine opened; open runs go on',
    'debug: run started',
    'warn: step failed; it is tried again',
    'debug: run closed',
  ]);
  const run = { workflow: 'order', version: '1', workflowId: 'o1', runId };
  t.match(heard.lines[1], run);
  t.match(heard.lines[2], {
    ...run,
    step: 'charge',
    attempt: 1,
    err: { type: 'AetherError', message: 'no answer', code: 'ERR_BANK' },
    nextAt: /^2030-01-01T00:00:00\.\d+Z$/,
  });
  t.match(heard.lines[3], { ...run, status: 'completed' });
  t.notMatch(heard.text(), 'Ada');
});

test('a run that failed says why', async (t) => {
  const heard = listen();
  const fails = workflow('fails', async () => {
    throw new FatalError('refused', { details: 'card of Ada' });
  });
  const engine = await TestEngine.open({ workflows: [fails], log: heard.log });
  await (await engine.start(fails)).result().catch(() => {});
  await engine.close();
  t.match(heard.lines.at(-1), { status: 'failed', err: { message: /refused/ } });
  t.notMatch(heard.text(), 'Ada');
});

test('what was said is not said again when it is replayed', async (t) => {
  const heard = listen();
  const long = workflow('long', async (ctx) => {
    await ctx.step('flaky', ({ attempt }) => {
      if (attempt === 1) throw new Error('once');
    });
    await ctx.receive('go');
  });
  const engine = await TestEngine.open({ workflows: [long], log: heard.log });
  const handle = await engine.start(long, undefined, { id: 'l1' });
  while ((await handle.describe()).pending[0]?.kind !== 'receive');
  const before = heard.lines.length;
  const again = await engine.crash();
  t.equal((await again.get('l1').describe()).status, 'running');
  t.same(said(heard.lines.slice(before)), ['info: engine opened; open runs go on']);
  t.match(heard.lines[before], { open: 1, now: 0, later: 1 });
  await again.close();
});

test('a stuck run is told of once, with reason, code and line', async (t) => {
  const heard = listen();
  const store = new MemoryStore();
  const before = workflow('changed', async (ctx) => {
    await ctx.step('one', () => 'card of Ada');
    await ctx.receive('go');
  });
  const after = workflow('changed', async (ctx) => {
    await ctx.step('other', () => 2);
  });
  const engine = await Engine.open({ store, workflows: [before] });
  const handle = await engine.start(before, undefined, { id: 'c1' });
  while ((await handle.describe()).pending[0]?.kind !== 'receive');
  await engine.close();
  const changed = await Engine.open({ store, workflows: [after], log: heard.log });
  t.equal((await changed.get('c1').describe()).status, 'stuck');
  await changed.get('c1').signal('go');
  await changed.get('c1').describe();
  await changed.close();
  const stuck = heard.lines.filter(({ msg }) => msg === 'run stuck');
  t.equal(stuck.length, 1);
  t.match(stuck[0], {
    level: 50,
    workflowId: 'c1',
    code: 'ERR_ENGINE_NONDETERMINISM',
    reason: /step "one".*step "other"/,
    at: /log\.test\.ts:\d+:\d+$/,
  });
  t.notMatch(heard.text(), 'Ada');
});

test('a history that nears its limit is told of once', async (t) => {
  const heard = listen();
  const grows = workflow('grows', async (ctx) => {
    for (let i = 0; i < 9; i++) await ctx.step('one', () => i);
  });
  const limits = { historyEvents: 20 };
  const engine = await TestEngine.open({ workflows: [grows], log: heard.log, limits });
  await (await engine.start(grows)).result();
  await engine.close();
  const nears = heard.lines.filter(({ msg }) => msg === 'history nears its limit');
  t.equal(nears.length, 1);
  t.match(nears[0], { level: 40, workflow: 'grows', hint: /continueAsNew/ });
  const { events } = nears[0] as unknown as { events: number };
  t.ok(events >= 16 && events <= 17);
});
