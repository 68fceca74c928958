import { type Test, test } from 'tap';
import { TestEngine } from '../../engine/testing.ts';
import { AetherError } from '../../spec/error.ts';
import type { AppRecord } from './catalog.ts';
import type { Effect } from './effect.ts';
import { WEIGH_WORKFLOW, weighId, type WeighPorts, weighWorkflow } from './weigh.ts';

const RECORD = { app: { name: 'shop', version: '1.0.0' } } as unknown as AppRecord;

/** @param refuses what the sink of a node answers an effect with */
async function engineOf(
  t: Test,
  applied: string[],
  refuses: (node: string, effect: Effect) => string | undefined = () => undefined,
): Promise<TestEngine> {
  const ports: WeighPorts = {
    self: 'na',
    nodeName: (node) => node.toUpperCase(),
    moves: () => [{ record: RECORD, particle: 'web', to: 'nb', toName: 'NB' }],
    apply: (node, _fence, effect) => {
      const code = refuses(node, effect);
      if (code !== undefined) return Promise.reject(new AetherError(code, { code }));
      applied.push(`${effect.kind} ${node}`);
      return Promise.resolve(undefined);
    },
  };
  const engine = await TestEngine.open({ workflows: [weighWorkflow(ports)] });
  t.teardown(() => engine.close());
  return engine;
}

const DRAIN = { node: 'nc', weight: 0 };

test('a drain prepares others, takes the share, and then has the node end what it runs', async (t) => {
  const applied: string[] = [];
  const engine = await engineOf(t, applied);
  const run = await engine.start(WEIGH_WORKFLOW, DRAIN, { id: weighId(DRAIN, 7) });
  t.equal(run.id, 'drain:nc:7');
  t.same(await run.result(), { ...DRAIN, moved: ['shop/web on NB'], released: true });
  t.same(applied, ['prepare nb', 'weigh na', 'release nc']);
});

test('nodes that do not answer, or cannot prepare, do not hold a drain up', async (t) => {
  const applied: string[] = [];
  const engine = await engineOf(t, applied, (node, { kind }) => {
    if (kind === 'prepare') return 'ERR_PARTICLE_TRANSPILE';
    return node === 'nc' ? 'ERR_RING_UNREACHABLE' : undefined;
  });
  const run = await engine.start(WEIGH_WORKFLOW, DRAIN);
  t.same(await run.result(), { ...DRAIN, moved: [], released: false });
  t.same(applied, ['weigh na']);
});

test('a change that the lattice refuses ends nothing on the node', async (t) => {
  const applied: string[] = [];
  const engine = await engineOf(t, applied, (_node, { kind }) =>
    kind === 'weigh' ? 'ERR_RING_CHANGE_REFUSED' : undefined,
  );
  const run = await engine.start(WEIGH_WORKFLOW, DRAIN);
  await t.rejects(run.result(), /ERR_RING_CHANGE_REFUSED/);
  t.same(applied, ['prepare nb']);
});

test('a weight above nothing is a change of the ring only', async (t) => {
  const applied: string[] = [];
  const engine = await engineOf(t, applied);
  const intent = { node: 'nc', weight: 2 };
  const run = await engine.start(WEIGH_WORKFLOW, intent, { id: weighId(intent, 9) });
  t.same(await run.result(), { ...intent, moved: [] });
  t.same(applied, ['weigh na']);
  t.equal(run.id, 'weigh:nc:2:9');
});
