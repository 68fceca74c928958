import { type Test, test } from 'tap';
import { TestEngine } from '../../engine/testing.ts';
import { AetherError } from '../../spec/error.ts';
import type { AppRecord } from './catalog.ts';
import type { Effect } from './effect.ts';
import { LEAVE_WORKFLOW, leaveId, leaveWorkflow } from './leave.ts';

const RECORD = { app: { name: 'shop', version: '1.0.0' } } as unknown as AppRecord;

/** @param refuses the code that the sink of a node answers an effect with */
async function engineOf(
  t: Test,
  applied: string[],
  refuses: (effect: Effect) => string | undefined = () => undefined,
): Promise<TestEngine> {
  const leaving = leaveWorkflow({
    self: 'na',
    nodeName: (node) => node.toUpperCase(),
    moves: () => [{ record: RECORD, particle: 'web', to: 'nb', toName: 'NB' }],
    apply: (node, _fence, effect) => {
      const code = refuses(effect);
      if (code !== undefined) return Promise.reject(new AetherError('no', { code }));
      applied.push(`${effect.kind} ${node}`);
      return Promise.resolve(undefined);
    },
  });
  const engine = await TestEngine.open({ workflows: [leaving] });
  t.teardown(() => engine.close());
  return engine;
}

test('a leave prepares others, and then takes the node out', async (t) => {
  const applied: string[] = [];
  const engine = await engineOf(t, applied);
  const run = await engine.start(LEAVE_WORKFLOW, undefined, { id: leaveId('na') });
  t.same(await run.result(), { left: 'na', moved: ['shop/web on NB'] });
  t.same(applied, ['prepare nb', 'leave na']);
});

test('others that cannot prepare hold no leave up', async (t) => {
  const applied: string[] = [];
  const engine = await engineOf(t, applied, ({ kind }) =>
    kind === 'prepare' ? 'ERR_PARTICLE_TRANSPILE' : undefined,
  );
  const run = await engine.start(LEAVE_WORKFLOW, undefined);
  t.same(await run.result(), { left: 'na', moved: [] });
  t.same(applied, ['leave na']);
});

test('a leave without a quorum is tried again; one that is refused ends, with the code of the refusal', async (t) => {
  const codes = ['ERR_RING_NO_QUORUM', 'ERR_RING_NO_QUORUM', 'ERR_RING_CHANGE_REFUSED'];
  const asked: string[] = [];
  const engine = await engineOf(t, [], ({ kind }) => {
    if (kind !== 'leave') return undefined;
    asked.push(kind);
    return codes.shift();
  });
  const run = await engine.start(LEAVE_WORKFLOW, undefined);
  await t.rejects(run.result(), {
    cause: { code: 'ERR_RING_CHANGE_REFUSED', message: 'NA leaves: no' },
  });
  t.equal(asked.length, 3);
});
