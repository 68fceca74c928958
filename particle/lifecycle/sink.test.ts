import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { systemClock } from '../../spec/system-clock.ts';
import type { Effect, Fence } from './effect.ts';
import { EffectSink } from './sink.ts';

const PUSH: Effect = { kind: 'push', particle: 'web', digest: 'sha256:00' };

function fence(step: string, ballot = '01'): Fence {
  return { workflow: 'w', step, ballot, name: `step ${step}` };
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'aether-sink-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return join(path, 'effects.db');
}

test('an effect is applied once, over repeats and restarts (K1)', async (t) => {
  const path = folder(t);
  let applied = 0;
  const perform = async (): Promise<unknown> => ({ nth: ++applied });
  const sink = new EffectSink(path, systemClock);
  t.same(await sink.apply(fence('a'), PUSH, perform), { nth: 1 });
  t.same(await sink.apply(fence('a'), PUSH, perform), { nth: 1 });
  t.same(await sink.apply(fence('b'), PUSH, perform), { nth: 2 });
  sink.close();

  const again = new EffectSink(path, systemClock);
  t.teardown(() => again.close());
  t.same(await again.apply(fence('a'), PUSH, perform), { nth: 1 });
  t.equal(applied, 2);
  t.match(again.log('w'), [
    { step: 'a', name: 'step a', kind: 'push', deliveries: 3 },
    { step: 'b', deliveries: 1 },
  ]);
  t.same(again.log('other'), []);
});

test('two askers at the same time share one application', async (t) => {
  const sink = new EffectSink(folder(t), systemClock);
  t.teardown(() => sink.close());
  let applied = 0;
  let release: (value: unknown) => void = () => {};
  const perform = (): Promise<unknown> => {
    applied += 1;
    return new Promise((resolve) => (release = resolve));
  };
  const both = [sink.apply(fence('a'), PUSH, perform), sink.apply(fence('a'), PUSH, perform)];
  release('done');
  t.same(await Promise.all(both), ['done', 'done']);
  t.equal(applied, 1);
});

test('a failed effect leaves no row and may be asked for again', async (t) => {
  const sink = new EffectSink(folder(t), systemClock);
  t.teardown(() => sink.close());
  await t.rejects(
    sink.apply(fence('a'), PUSH, () => Promise.reject(new Error('full'))),
    /full/,
  );
  t.same(sink.log(), []);
  t.equal(await sink.apply(fence('a'), PUSH, async () => 'done'), 'done');
});

test('a lower ballot is refused once a higher one was seen (K2)', async (t) => {
  const sink = new EffectSink(folder(t), systemClock);
  t.teardown(() => sink.close());
  await sink.apply(fence('a', '09'), PUSH, async () => 1);
  await sink.apply(fence('b', '10'), PUSH, async () => 2);
  await t.rejects(
    sink.apply(fence('c', '09'), PUSH, async () => 3),
    { code: 'ERR_SINK_FENCED' },
  );
  t.equal(sink.log().length, 2);
});
