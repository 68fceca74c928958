import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { Engine, WorkflowFailedError } from 'aether/engine';
import { TestEngine } from 'aether/engine/testing';
import { runExample, stateFolder } from '../test/example.ts';
import { order, outside } from './order-saga.ts';

const GOOD = { id: 'good', cents: 5, address: 'here' };
const BAD = { id: 'bad', cents: 7 };
const UNDONE = ['bad: charge 7', 'bad: reserve', 'bad: release', 'bad: refund 7'];

const done = (): string[] => [...outside.done.values()];

async function open(t: Test): Promise<TestEngine> {
  outside.done.clear();
  const engine = await TestEngine.open({ workflows: [order] });
  t.teardown(() => engine.close());
  return engine;
}

test('an order that fails is undone in reverse order', async (t) => {
  const engine = await open(t);
  t.equal(await (await engine.start(order, GOOD)).result(), 'shipped to here');
  t.same(done(), ['good: charge 5', 'good: reserve', 'good: ship to here']);
  outside.done.clear();
  await t.rejects((await engine.start(order, BAD)).result(), WorkflowFailedError);
  t.same(done(), UNDONE);
});

test('a history of it replays', async (t) => {
  const engine = await open(t);
  const handle = await engine.start(order, BAD);
  await handle.result().catch(() => {});
  t.match(await Engine.replay(order, await handle.history()), { ok: true });
  t.same(done(), UNDONE, 'and the replay does nothing');
});

/** With which the program says what it did outside. */
const EFFECT = '  ';

test('the command, killed with -9 after each of its effects: it goes on, every effect is there once', async (t) => {
  const state = stateFolder(t);
  const run = (killAt?: string) => runExample('order-saga', ['--state', state], killAt);
  const effects = (): string[][] =>
    readFileSync(join(state, 'done.txt'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
  const expected = [
    'order-1: charge 4200',
    'order-1: reserve',
    'order-1: ship to 1 Main Street',
    'order-2: charge 1700',
    'order-2: reserve',
    'order-2: release',
    'order-2: refund 1700',
  ];
  for (let kill = 1; kill < expected.length; kill++) {
    const { said, code } = await run(EFFECT);
    t.equal(code, null, 'it was killed');
    t.equal(effects().length, kill, said.join('\n'));
    if (kill > 1) t.match(said[0], /^order-\d goes on after \d+ events$/);
  }
  const { said, code } = await run();
  t.equal(code, 0);
  t.same(
    effects().map(([, what]) => what),
    expected,
  );
  t.equal(new Set(effects().map(([key]) => key)).size, expected.length, 'one key each');
  t.match(
    said.join('\n'),
    /^order-1: shipped to 1 Main Street$[^]*^order-2: .*there is no address$/m,
  );
  t.same(
    (await run()).said,
    said.filter((line) => /^order-\d: |^The/.test(line)),
  );
  t.equal(effects().length, expected.length, 'run again, nothing happens');
});
