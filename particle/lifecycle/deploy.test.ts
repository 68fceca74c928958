import { type Test, test } from 'tap';
import { TestEngine } from '../../engine/testing.ts';
import { AetherError } from '../../spec/error.ts';
import type { AppRecord } from './catalog.ts';
import { type DeployPorts, deployId, deployWorkflow } from './deploy.ts';
import type { Effect, Fence } from './effect.ts';

const RECORD = {
  app: {
    name: 'shop',
    version: '1.0.0',
    kv: { carts: { replicas: 3, quota: '1Gi' } },
    particles: {},
  } as unknown as AppRecord['app'],
  components: { web: 'sha256:web', pay: 'sha256:pay' },
  content: 'content',
  generation: 4,
  claimant: 'na',
  workflow: 'deploy:shop:4:1.0.0',
  state: 'claimed',
} satisfies AppRecord;

interface Applied {
  node: string;
  effect: Effect;
  fence: Fence;
}

/** Two nodes whose sinks write down what they are asked. */
function recordingPorts(applied: Applied[], ports: Partial<DeployPorts> = {}): DeployPorts {
  return {
    self: 'na',
    nodeName: (node) => `node ${node}`,
    candidates: () => ({ nodes: ['na', 'nb'], rejected: [] }),
    nodes: () => ['na', 'nb'],
    ...ports,
    apply: async (node, fence, effect) => {
      await ports.apply?.(node, fence, effect);
      applied.push({ node, effect, fence });
      return undefined;
    },
  };
}

async function open(t: Test, ports: DeployPorts): Promise<TestEngine> {
  const engine = await TestEngine.open({ workflows: [deployWorkflow(ports)] });
  t.teardown(() => engine.close());
  return engine;
}

function refusal(code: string): Promise<never> {
  return Promise.reject(new AetherError(code, { code }));
}

test('claim, then buckets and components, then nodes, then the switch (D2)', async (t) => {
  const applied: Applied[] = [];
  const engine = await open(t, recordingPorts(applied));
  const run = await engine.start('aether.deploy', RECORD, { id: deployId(RECORD) });
  t.match(await run.result(), {
    app: 'shop',
    generation: 4,
    prepared: { web: ['na', 'nb'], pay: ['na', 'nb'] },
  });
  t.equal(run.id, RECORD.workflow, 'the id is made of the intent');
  t.same(
    applied.map(({ node, effect }) => `${effect.kind} ${node}`),
    [
      'claim na',
      'bucket na',
      'push na',
      'push na',
      'prepare na',
      'prepare nb',
      'prepare na',
      'prepare nb',
      'publish na',
      'activate na',
      'activate nb',
    ],
  );
  t.match(applied[1]?.effect, { bucket: 'shop.carts', replicas: 3 });
  t.equal(new Set(applied.map(({ fence }) => fence.step)).size, applied.length);
  t.ok(applied.every(({ fence }) => fence.workflow === run.id && fence.ballot !== ''));
});

test('a deploy that is cut off at any effect goes on from there (D1)', async (t) => {
  for (let cutAt = 0; cutAt < 11; cutAt++) {
    const applied: Applied[] = [];
    let effects = 0;
    const reached = Promise.withResolvers<void>();
    const ports = recordingPorts(applied, {
      apply: () => {
        if (effects++ !== cutAt) return Promise.resolve();
        reached.resolve();
        // The engine that waits for this one is gone before it ends.
        return new Promise(() => {});
      },
    });
    const engine = await TestEngine.open({ workflows: [deployWorkflow(ports)] });
    await engine.start('aether.deploy', RECORD, { id: RECORD.workflow });
    await reached.promise;
    const again = await engine.crash();
    t.match(await again.get(RECORD.workflow).result(), { generation: 4 });
    t.equal(applied.length, 11, `cut off at effect ${cutAt}`);
    t.equal(new Set(applied.map(({ fence }) => fence.step)).size, 11, 'each once');
    await again.close();
  }
});

test('a node that cannot be reached is passed over, not waited for (D3)', async (t) => {
  const applied: Applied[] = [];
  let tries = 0;
  const ports = recordingPorts(applied, {
    apply: (node) => {
      if (node !== 'nb') return Promise.resolve();
      tries += 1;
      return refusal('ERR_RING_UNREACHABLE');
    },
  });
  const engine = await open(t, ports);
  const run = await engine.start('aether.deploy', RECORD);
  t.match(await run.result(), { prepared: { web: ['na'], pay: ['na'] } });
  t.equal(tries, 15, 'five tries for each of the three steps there');
});

test('with no node to prepare on nothing is published, and each reason is told', async (t) => {
  const applied: Applied[] = [];
  const rejected = [{ node: 'nb', why: 'its region is us' }];
  const ports = recordingPorts(applied, { candidates: () => ({ nodes: [], rejected }) });
  const engine = await open(t, ports);
  const run = await engine.start('aether.deploy', RECORD);
  await t.rejects(run.result(), /no node may serve web \(node nb: its region is us\)/);
  t.notOk(applied.some(({ effect }) => effect.kind === 'publish' || effect.kind === 'activate'));
});

test('a refusal ends the deploy at once; a lack of quorum does not', async (t) => {
  for (const code of ['ERR_DEPLOY_SUPERSEDED', 'ERR_SINK_FENCED', 'ERR_NOT_AVAILABLE']) {
    const applied: Applied[] = [];
    let tries = 0;
    const ports = recordingPorts(applied, {
      apply: () => {
        tries += 1;
        return refusal(code);
      },
    });
    const engine = await open(t, ports);
    const run = await engine.start('aether.deploy', RECORD);
    await t.rejects(run.result(), new RegExp(code));
    t.equal(tries, 1, code);
  }

  const applied: Applied[] = [];
  let tries = 0;
  const ports = recordingPorts(applied, {
    apply: () => (tries++ < 20 ? refusal('ERR_KV_UNAVAILABLE') : Promise.resolve()),
  });
  const engine = await open(t, ports);
  const run = await engine.start('aether.deploy', RECORD);
  t.match(await run.result(), { generation: 4 });
});
