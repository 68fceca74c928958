import { join } from 'node:path';
import { Engine, workflow } from '../../engine/index.ts';
import { SqliteStore } from '../../engine/io/sqlite.ts';
import { type DurableSubject, type Opening, PAYLOAD, type Source, STEPS } from './subject.ts';

/** Our engine as an application uses it. */
export const aether: Source & { open(opening: Opening): Promise<DurableSubject> } = {
  name: 'aether',
  open: async ({ folder, onStep }) => {
    const steps10 = workflow('steps10', async (ctx) => {
      for (let i = 0; i < STEPS; i++) await ctx.step('step', () => PAYLOAD);
    });
    const empty = workflow('empty', async () => {});
    const signalled = workflow('signalled', async (ctx) => ctx.receive('go'));
    const mid = workflow('mid', async (ctx, run: number) => {
      for (let i = 0; i < STEPS; i++) {
        await ctx.step('step', () => {
          onStep(run, i);
          return PAYLOAD;
        });
      }
    });
    const engine = await Engine.open({
      store: new SqliteStore(join(folder, 'aether.db')),
      workflows: [steps10, empty, signalled, mid],
    });
    return {
      durability: { text: 'SQLite WAL, synchronous=FULL, group commit', full: true },
      steps10: async () => (await engine.start(steps10)).result(),
      empty: async () => (await engine.start(empty)).result(),
      signal: async () => {
        const handle = await engine.start(signalled);
        const result = handle.result();
        return async () => {
          await handle.signal('go', PAYLOAD);
          await result;
        };
      },
      startMid: (run) => engine.start(mid, run, { id: `mid-${run}` }),
      midResults: async (runs) => {
        const results = runs.map((run) => engine.get(`mid-${run}`).result());
        const settled = await Promise.allSettled(results);
        return runs.filter((_, i) => settled[i]?.status === 'fulfilled');
      },
    };
  },
};
