/**
 * The process that crash.test.ts kills: FOLDER [committed|effectDone N]
 *
 * Runs one workflow, in a queue and with a child, to its end and prints its result; or ends itself with SIGKILL at the Nth call of a probe.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Engine, type EngineProbe, type StepContext, workflow } from './index.ts';
import { SqliteStore } from './io/sqlite.ts';

const [, , folder = '', place = '', at = '0'] = process.argv;

const log = (name: string) => (step: StepContext) => {
  appendFileSync(join(folder, 'effects'), `${name} ${step.idempotencyKey}\n`);
  return name;
};
const pack = workflow('pack', async (ctx, card: string) => {
  await ctx.step('pack', log('pack'));
  return `${card} packed`;
});
const order = workflow('order', async (ctx) => {
  await ctx.step('reserve', log('reserve'));
  await Promise.all([ctx.step('left', log('left')), ctx.step('right', log('right'))]);
  await ctx.sleep('nap', 1);
  const card = await ctx.receive<string>('card', { timeout: 1 }).catch(() => 'visa');
  await ctx.step('charge', log('charge'), { input: card });
  const packed = await (await ctx.child(pack, card)).result();
  await ctx.step('ship', log('ship'));
  return packed;
});
let left = Number(at);
const strike = (): void => {
  if (--left === 0) process.kill(process.pid, 'SIGKILL');
};
const probe: EngineProbe = place === '' ? {} : { [place]: strike };
const store = new SqliteStore(join(folder, 'engine.db'));
const engine = await Engine.open({
  store,
  workflows: [order, pack],
  queues: { orders: { concurrency: 1 } },
  probe,
});
const handle = await engine.start(order, undefined, { id: 'o', queue: 'orders' });
const result = await handle.result();
let events = 0;
for await (const run of engine.list()) events += run.events;
await engine.close();
console.log(JSON.stringify({ result, events }));
