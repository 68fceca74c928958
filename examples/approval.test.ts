import { test } from 'tap';
import { Engine } from 'aether/engine';
import { TestEngine } from 'aether/engine/testing';
import { runExample, stateFolder } from '../test/example.ts';
import { approval } from './approval.ts';

const WEEK_MS = 7 * 24 * 3_600_000;
const REQUEST = { what: 'tea', patience: '7d' };
const ASKED = 'to the team lead: may we have tea?';
const NOBODY = [
  ASKED,
  'to the team lead: you did not answer within 7d',
  'to the manager: may we have tea?',
  'to the manager: you did not answer within 7d',
];

test('two weeks in which nobody answers take no time', async (t) => {
  const { args: said } = t.capture(console, 'log');
  const engine = await TestEngine.open({ workflows: [approval], startAt: 0 });
  t.teardown(() => engine.close());
  const handle = await engine.start(approval, REQUEST);
  t.equal(await handle.result(), 'rejected, since nobody answered');
  t.equal(engine.clock.now(), 2 * WEEK_MS);
  t.same(said().flat(), NOBODY);
  t.match(await Engine.replay(approval, await handle.history()), { ok: true });
  t.same(said(), [], 'a replay asks nobody');
});

test('an answer in time ends it; a late one is for who is asked then', async (t) => {
  const { args: said } = t.capture(console, 'log');
  const options = { workflows: [approval], startAt: 0, skipTime: false };
  const first = await TestEngine.open(options);
  for (const id of ['early', 'late']) await first.start(approval, REQUEST, { id });
  await first.advance(WEEK_MS - 1);
  const engine = await first.crash();
  t.teardown(() => engine.close());
  await engine.get('early').signal('answer', true);
  t.equal(await engine.get('early').result(), 'approved by the team lead');
  await engine.advance(1);
  await engine.get('late').signal('answer', false);
  t.equal(await engine.get('late').result(), 'rejected by the manager');
  t.equal(engine.clock.now(), WEEK_MS);
  t.same(said().flat(), [ASKED, ...NOBODY.slice(0, 3)], 'nobody is asked again after a crash');
});

test('the command asks and ends; a second one answers', async (t) => {
  const state = stateFolder(t);
  const run = (...args: string[]) => runExample('approval', [...args, '--state', state]);
  t.match(await run('aprove'), { code: 2, said: [] }, 'a slip of the pen asks nobody');
  t.match(await run('reject'), { code: 0, said: [/^nobody waits for an answer/] });
  t.match(await run('ask'), {
    code: 0,
    said: [/^to the team lead: /, /^waits until \d{4}-[^]*: answer with approve/],
  });
  t.match(await run('ask'), { code: 0, said: [/^waits until /] }, 'asking twice is asking once');
  t.same(await run('approve'), { code: 0, said: ['approved by the team lead'] });
  t.match((await run('ask')).said, [/^to the team lead: /, /^waits until /]);
  t.same(await run('reject'), { code: 0, said: ['rejected by the team lead'] });
  t.match(await run('ask', '--patience', '1ms'), {
    said: { 4: 'rejected, since nobody answered' },
  });
});
