/** Runs of 10,000 steps: what a step costs late in a run, and how fast such a journal is replayed. */
import { join } from 'node:path';
import { Engine, workflow } from '../../engine/index.ts';
import { SqliteStore } from '../../engine/io/sqlite.ts';
import type { Trial } from './trial.ts';

const STEPS = 10_000;
/** Runs side by side, so that the cost of a step is not lost in the fsync that they share. */
const ABREAST = 8;
const RESULT = 'x'.repeat(256);

export const longRun: Trial = {
  name: 'steps10000',
  units: { secondHalfRatio: '1' },
  async measure(folder) {
    const halves = [0, 0];
    const long = workflow('long', async (ctx) => {
      let fromMs = performance.now();
      for (let half = 0; half < 2; half++) {
        for (let i = 0; i < STEPS / 2; i++) await ctx.step('step', () => RESULT);
        halves[half] = (halves[half] ?? 0) + performance.now() - fromMs;
        fromMs = performance.now();
      }
    });
    const store = new SqliteStore(join(folder, 'engine.db'));
    const engine = await Engine.open({ store, workflows: [long] });
    const handles = await Promise.all(Array.from({ length: ABREAST }, () => engine.start(long)));
    await Promise.all(handles.map((handle) => handle.result()));
    await engine.close();
    return { secondHalfRatio: (halves[1] as number) / (halves[0] as number) };
  },
  bounds: (value) => [
    {
      text: `steps of the second half cost at most 1.25 times those of the first; measured ${value('secondHalfRatio').toPrecision(3)}`,
      holds: value('secondHalfRatio') <= 1.25,
    },
  ],
};

export const replay: Trial = {
  name: 'replay',
  units: { eventsPerSecond: '1/s' },
  async measure(folder) {
    const path = join(folder, 'engine.db');
    const long = workflow('long', async (ctx) => {
      for (let i = 0; i < STEPS; i++) await ctx.step('step', () => RESULT);
      await ctx.receive('never');
    });
    const open = (durability: 'full' | 'normal'): Promise<Engine> =>
      Engine.open({ store: new SqliteStore(path, { durability }), workflows: [long] });
    const writer = await open('normal');
    const { id } = await writer.start(long);
    const waits = async (engine: Engine): Promise<number> => {
      for (;;) {
        const { events, pending } = await engine.get(id).describe();
        if (pending[0]?.kind === 'receive') return events;
        await new Promise((resolve) => void setTimeout(resolve, 10));
      }
    };
    await waits(writer);
    await writer.close();
    const reader = await open('full');
    const fromMs = performance.now();
    // The run is not in memory: to describe it, its journal is read, checked, decoded and replayed through its body.
    const events = await waits(reader);
    const seconds = (performance.now() - fromMs) / 1_000;
    await reader.close();
    return { eventsPerSecond: events / seconds };
  },
  bounds: (value) => [
    {
      text: `at least 100,000 events/s; measured ${Math.round(value('eventsPerSecond'))}`,
      holds: value('eventsPerSecond') >= 100_000,
    },
  ],
};
