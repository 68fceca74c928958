/**
 * Workflows whose histories are kept. Every later release replays them, so a body here changes only as one in production
 * may: behind `ctx.version`. What they call outside is worked out from their input.
 */
import {
  type EngineOptions,
  FatalError,
  RetryAfterError,
  type StepFailedError,
  type Workflow,
  workflow,
  type WorkflowContext,
} from '../index.ts';

type Run = Workflow<unknown, unknown>;

const nameOf = (error: Error): string => error.name;

export const steps: Run = workflow('steps', async (ctx, input: unknown) => {
  const plain = await ctx.step('plain', () => 1, { input });
  const values = await ctx.step('values', () => ({
    when: new Date(0),
    bytes: new Uint8Array([0, 255]),
    big: 10n ** 20n,
    map: new Map([['k', new Set([1, undefined])]]),
    numbers: [Number.NaN, -0, 1e300],
    dollar: { $: 'no tag' },
  }));
  const flaky = await ctx.step('flaky', ({ attempt }) => {
    if (attempt === 1) throw Object.assign(new Error('busy'), { code: 'E_BUSY' });
    if (attempt === 2) throw new RetryAfterError('come back', '1h');
    return attempt;
  });
  const resumed = await ctx.step('resumed', (step) => {
    if (step.attempt > 1) return step.lastHeartbeat;
    step.heartbeat({ done: 5 });
    throw new Error('broken off');
  });
  const refused = await ctx
    .step('refused', () => {
      throw new FatalError('no such card', { code: 'E_CARD', details: { card: 7n } });
    })
    .catch((error: StepFailedError) => error.cause);
  const both = await Promise.all(['a', 'b'].map((name) => ctx.step(name, () => name)));
  return { plain, values, flaky, resumed, refused, both };
});

export const races: Run = workflow('races', async (ctx) => {
  const legs = ['x', 'y', 'z'].map((name, i) => ctx.sleep(name, (3 - i) * 1_000).then(() => name));
  const first = await Promise.race(legs);
  const any = await Promise.any([
    ctx.step('no', () => Promise.reject(new FatalError('no'))),
    ctx.sleep('late', '5s').then(() => 'late'),
  ]);
  const settled = await Promise.allSettled(legs);
  return ctx.step(`${first} ${any} ${settled.length}`, () => 'done');
});

export const chance: Run = workflow('chance', (ctx) =>
  ctx.step(`${ctx.uuid()} ${ctx.random()} ${ctx.now()}`, () => ctx.runId),
);

export const timers: Run = workflow('timers', async (ctx) => {
  await ctx.sleep('nap', '1h30m');
  await ctx.sleepUntil('noon', ctx.now() + 60_000);
  const signal = await ctx.receive('never', { timeout: '7d' }).catch(nameOf);
  const condition = await ctx.condition(() => false, { timeout: '1d' });
  return [signal, condition];
});

export const signals: Run = workflow('signals', async (ctx) => {
  const notes: string[] = [];
  ctx.onSignal('note', async (text: string) => {
    await ctx.step(`note ${text}`, () => text);
    notes.push(text);
  });
  const early = await ctx.receive('early');
  await ctx.condition(() => notes.length === 2);
  const late = await ctx.receive('late', { timeout: '1d' });
  return [early, late, ...notes];
});

export const updates: Run = workflow('updates', async (ctx) => {
  const items: string[] = [];
  let open = true;
  ctx.onQuery('items', () => items);
  ctx.onUpdate('add', async (item: string) => {
    await ctx.sleep(`weigh ${item}`, item.length * 1_000);
    return items.push(item);
  });
  ctx.onUpdate('refuse', () => {
    throw Object.assign(new Error('not this'), { code: 'E_REFUSED' });
  });
  ctx.onUpdate('close', () => void (open = false));
  await ctx.condition(() => !open);
  return items;
});

const worker: Workflow<string, string> = workflow('worker', async (ctx, task: string) => {
  if (task === 'fail') throw new Error('cannot');
  if (task === 'wait') return ctx.receive<string>('go');
  return ctx.step('work', () => task.toUpperCase());
});

export const parent: Run = workflow('parent', async (ctx) => {
  const id = (name: string): string => `${ctx.workflowId}/${name}`;
  const works = await (await ctx.child(worker, 'work')).result();
  const fails = await (await ctx.child(worker, 'fail')).result().catch(nameOf);
  const told = await ctx.child(worker, 'wait', { id: id('told') });
  const late = await told.result({ timeout: '1m' }).catch(nameOf);
  const taken = await ctx.child(worker, 'wait', { id: id('told') }).catch(nameOf);
  await told.signal('go', 'hello');
  const hello = await told.result();
  const stopped = await ctx.child(worker, 'wait', { id: id('stopped') });
  await stopped.cancel('enough');
  const stop = await stopped.result().catch(nameOf);
  const nobody = await ctx.signal('nobody', 'go').catch(nameOf);
  for (const onParentClose of ['cancel', 'terminate', 'abandon'] as const) {
    await ctx.child(worker, 'wait', { id: id(onParentClose), onParentClose });
  }
  return [works, fails, late, taken, hello, stop, nobody];
});

export const scopes: Run = workflow('scopes', async (ctx) => {
  const late = await ctx
    .scope((inner) => inner.receive<string>('never'), { timeout: '1h' })
    .catch(nameOf);
  const stopped = await ctx
    .scope(async (inner) => {
      const long = inner.sleep('long', '1d');
      inner.cancel('not needed');
      await long;
      return 'not stopped';
    })
    .catch(nameOf);
  try {
    await ctx.receive('go');
  } catch (error) {
    await ctx.shield((inner) => inner.step(`tidy up ${late} ${stopped}`, () => 1));
    throw error;
  }
});

/** Fails in the end. With 'stuck', so does an undo. */
export const saga: Run = workflow('saga', async (ctx, input: unknown) => {
  const undo = { compensate: () => {} };
  await ctx.step('charge', () => 1, undo);
  ctx.compensate('release', () => {
    if (input === 'stuck') throw new FatalError('the door is locked');
  });
  await ctx.step('reserve', () => 2, undo);
  throw Object.assign(new Error('no address'), { code: 'E_ADDRESS', details: { order: 1 } });
});

export const pages: Workflow<number, unknown> = workflow('pages', async (ctx, page: number) => {
  await ctx.step(`page ${page}`, () => page);
  if (page < 3) ctx.continueAsNew(page + 1);
  return ctx.receive('go');
});

export const rounds: Workflow<number, number> = workflow('rounds', async (ctx, round: number) => {
  let notes = 0;
  ctx.onUpdate('note', () => ++notes);
  await ctx.receive('next');
  if (round < 2) ctx.continueAsNew(round + 1);
  return notes;
});

export const waits: Run = workflow('waits', async (ctx, input: unknown) => {
  ctx.attributes({ phase: 'waits', tries: 1, urgent: false, owner: null });
  try {
    return await ctx.receive('go');
  } catch (error) {
    if (input === 'hold') return 'held';
    throw error;
  }
});

export const retried: Run = workflow(
  'retried',
  async (ctx) => {
    await ctx.step('try', () => 1);
    throw new Error('not yet');
  },
  { retry: { attempts: 2, initial: '1m' }, timeout: '1d' },
);

const oldWay = (ctx: WorkflowContext): Promise<string> => ctx.step('old way', () => 'old');

/** `ways` as it was before it changed; only histories are left of it. */
export const waysBefore: Run = workflow('ways', async (ctx) => {
  await ctx.receive('go');
  return oldWay(ctx);
});

export const ways: Run = workflow('ways', async (ctx) => {
  const way = ctx.version('way', { min: 1, max: 2 });
  await ctx.receive('go');
  return way === 1 ? oldWay(ctx) : ctx.step('new way', () => 'new');
});

/** While it is there, the body waits for what never comes. */
export const bug: { there: boolean } = { there: false };

export const mended: Run = workflow('mended', async (ctx) => {
  await ctx.step('one', () => 1);
  if (bug.there) await new Promise(() => {});
  await ctx.step('two', () => 2);
  return [await ctx.receive('go'), await ctx.receive('go')];
});

export const timed: Workflow<string, string> = workflow('timed', async (ctx, lasts: string) => {
  await ctx.sleep('work', lasts);
  return lasts;
});

const all: EngineOptions['workflows'] = [
  steps,
  races,
  chance,
  timers,
  signals,
  updates,
  worker,
  parent,
  scopes,
  saga,
  pages,
  rounds,
  waits,
  retried,
  ways,
  mended,
  timed,
];
export default all;
