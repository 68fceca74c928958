/**
 * A saga: charge, reserve, ship. What was done for an order that fails is undone in reverse order.
 *
 *   npm run example -- order-saga [--state FOLDER]
 *
 * Kill it half-way (`kill -9`) and run it again: it goes on, and nothing is done twice.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Engine, FatalError, type StepContext, type Workflow, workflow } from 'aether/engine';
import { SqliteStore } from 'aether/engine/sqlite';

/** The bank, the warehouse and the carrier. What comes again with a key that they know, they have done. */
class Outside {
  readonly done: Map<string, string> = new Map();
  #file: string | undefined;
  #takesMs = 0;

  /** Keeps what is done in a file, one line each, and takes its time. */
  open(file: string, takesMs: number): void {
    this.#file = file;
    this.#takesMs = takesMs;
    for (const line of existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []) {
      const [key = '', what = ''] = line.split('\t');
      this.done.set(key, what);
    }
  }

  async do(what: string, { idempotencyKey: key }: StepContext): Promise<void> {
    await pause(this.#takesMs);
    if (this.done.has(key)) return;
    if (this.#file !== undefined) appendFileSync(this.#file, `${key}\t${what}\n`);
    this.done.set(key, what);
    console.log(`  ${what}`);
  }
}

export const outside: Outside = new Outside();

interface Order {
  id: string;
  cents: number;
  address?: string;
}

export const order: Workflow<Order, string> = workflow('order', async (ctx, input: Order) => {
  const { id, cents, address } = input;
  await ctx.step('charge', (step) => outside.do(`${id}: charge ${cents}`, step), {
    compensate: (_, step) => outside.do(`${id}: refund ${cents}`, step),
  });
  await ctx.step('reserve', (step) => outside.do(`${id}: reserve`, step), {
    compensate: (_, step) => outside.do(`${id}: release`, step),
  });
  await ctx.step('ship', (step) => {
    if (address === undefined) throw new FatalError('there is no address');
    return outside.do(`${id}: ship to ${address}`, step);
  });
  return `shipped to ${address}`;
});

const workflows: [typeof order] = [order];
/** For `aether up --workflows` and `aether wf replay --workflows`. */
export default workflows;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { state: { type: 'string' } } });
  const { state = join(tmpdir(), 'aether-order-saga') } = values;
  mkdirSync(state, { recursive: true });
  outside.open(join(state, 'done.txt'), 500);

  const store = new SqliteStore(join(state, 'engine.db'));
  await using engine = await Engine.open({ store, workflows });
  for await (const run of engine.list({ status: 'running' })) {
    console.log(`${run.id} goes on after ${run.events} events`);
  }
  // Asking twice is asking once: where an order has begun, `start` gives the handle of that run.
  const good: Order = { id: 'order-1', cents: 4_200, address: '1 Main Street' };
  const bad: Order = { id: 'order-2', cents: 1_700 };
  for (const one of [good, bad]) {
    const handle = await engine.start(order, one, { id: one.id });
    const outcome = await handle.result().catch((error: Error) => error.message);
    console.log(`${one.id}: ${outcome}`);
  }
  console.log(`The journal is in ${state}; remove it to begin anew.`);
}

if (import.meta.main) await main();
