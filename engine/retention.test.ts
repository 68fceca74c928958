import { test } from 'tap';
import { Engine, workflow } from './index.ts';
import { MemoryStore } from './io/memory.ts';
import { TestEngine } from './testing.ts';

const quick = workflow('quick', async (ctx) => ctx.step('s', () => 1));
const sleeper = workflow('sleeper', async (ctx) => ctx.sleep('nap', '30d'));

async function ids(engine: Engine): Promise<string[]> {
  const found: string[] = [];
  for await (const { id } of engine.list()) found.push(id);
  return found;
}

test('closed runs are forgotten after their time, open ones never; their ids are free again', async (t) => {
  const engine = await TestEngine.open({
    workflows: [quick, sleeper],
    retention: '1d',
    skipTime: false,
  });
  t.teardown(() => engine.close());
  await engine.start(sleeper, undefined, { id: 'sleeps' });
  for (let i = 0; i < 450; i++)
    await (await engine.start(quick, undefined, { id: `q${i}` })).result();
  await engine.advance('23h');
  await (await engine.start(quick, undefined, { id: 'later' })).result();
  t.equal((await ids(engine)).length, 452, 'none is older than a day');
  await engine.advance('2h');
  const last = await engine.start(quick, undefined, { id: 'last' });
  await last.result();
  while ((await ids(engine)).length > 3) continue;
  t.same((await ids(engine)).toSorted(), ['last', 'later', 'sleeps']);
  await t.rejects(engine.get('q0').result(), { code: 'ERR_ENGINE_NOT_FOUND' });
  t.equal(await (await engine.start(quick, undefined, { id: 'q0' })).result(), 1);
  t.equal((await engine.get('sleeps').describe()).status, 'sleeping');
});

test('what became old while no engine ran is forgotten at open', async (t) => {
  const engine = await TestEngine.open({ workflows: [quick], retention: '1d', skipTime: false });
  await (await engine.start(quick, undefined, { id: 'old' })).result();
  await engine.advance('2d');
  const again = await engine.crash();
  t.teardown(() => again.close());
  while ((await ids(again)).length > 0) continue;
  await t.rejects(again.get('old').describe(), { code: 'ERR_ENGINE_NOT_FOUND' });
});

test('a sweep that fails is logged; runs go on', async (t) => {
  class Failing extends MemoryStore {
    failures = 1;
    override prune(request: { closedBefore: number; limit: number }): Promise<number> {
      if (this.failures-- > 0) return Promise.reject(new Error('ENOSPC'));
      return super.prune(request);
    }
  }
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const ignore = (): void => {};
  const log = { debug: ignore, info: ignore, warn: ignore, error: resolve };
  const engine = await Engine.open({
    store: new Failing(),
    workflows: [quick],
    retention: '1m',
    log,
  });
  t.match(await promise, { err: { message: 'ENOSPC' } });
  t.equal(await (await engine.start(quick)).result(), 1);
  await engine.close();
});

test('a retention so short that results would go before they are read is refused', async (t) => {
  await t.rejects(
    Engine.open({ store: new MemoryStore(), workflows: [quick], retention: '59s' }),
    RangeError,
  );
});
