/** The process whose wall clock clock.shim.c sets: FOLDER CONTROL */
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Engine, workflow } from './index.ts';
import { SqliteStore } from './io/sqlite.ts';

const [, , folder = '', control = ''] = process.argv;
const HOUR_MS = 3_600_000;

const nap = workflow('nap', async (ctx, duration: string) => {
  await ctx.sleep('nap', duration);
  return 'done';
});
const open = (): Promise<Engine> =>
  Engine.open({ store: new SqliteStore(join(folder, 'engine.db')), workflows: [nap] });

const file = openSync(control, 'r+');
const wallAheadMs = (): number => Date.now() - performance.now();
const unmovedMs = wallAheadMs();
const moved: number[] = [];
function set(hours: number): void {
  writeSync(file, new BigInt64Array([BigInt(hours * HOUR_MS)]), 0, 8, 0);
  moved.push(Math.round((wallAheadMs() - unmovedMs) / HOUR_MS));
}

let engine = await open();
const hour = async (): Promise<string> => (await engine.get('hour').describe()).status;
await engine.start(nap, '1h', { id: 'hour' });
const statuses: string[] = [];
const short: string[] = [];
for (const [i, hours] of [24, -24].entries()) {
  const handle = await engine.start(nap, '50ms', { id: `short ${i + 1}` });
  set(hours);
  short.push(await handle.result());
  statuses.push(await hour());
}
await engine.close();
set(0);
engine = await open();
await engine.start(nap, '1ms', { id: 'last' }).then((handle) => handle.result());
statuses.push(await hour());
await engine.close();
set(24);
engine = await open();
statuses.push(await engine.get<string>('hour').result());
const order: string[] = [];
for await (const { id } of engine.list()) order.push(id);
await engine.close();
console.log(JSON.stringify({ moved, short, hour: statuses, order }));
