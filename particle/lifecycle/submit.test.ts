import { readFileSync } from 'node:fs';
import { type Test, test } from 'tap';
import { TestEngine } from '../../engine/testing.ts';
import { readAetherfile } from '../../spec/aetherfile/index.ts';
import { AetherError } from '../../spec/error.ts';
import type { AppRecord } from './catalog.ts';
import { type DeployPorts, deployWorkflow } from './deploy.ts';
import type { Lifecycle } from './lifecycle.ts';
import { type Submitted, submitDeploy } from './submit.ts';
import { Turns } from './turns.ts';

const TINY = readFileSync(new URL('../../samples/tiny/tiny.wasm', import.meta.url));

function source(version: string, label = ''): string {
  return `package aether

app: #App & {
	aether: "v1alpha1"
	name: "tiny"
	version: "${version}"
	kv: tallies: {}
	particles: web: {
		source: path: "tiny.wasm"
		grants: [{kind: "kv", bucket: "tallies", ops: ["get", "set"]}]
		labels: {label: "${label}"}
	}
}
`;
}

/** A node whose deploys do what `apply` does, and whose catalog has what it is given. */
async function node(
  t: Test,
  apply: DeployPorts['apply'],
): Promise<{
  engine: TestEngine;
  revisions: AppRecord[];
  submit: (text: string, component?: Uint8Array | string) => Promise<Submitted>;
}> {
  const ports: DeployPorts = {
    self: 'na',
    nodeName: (id) => id,
    candidates: () => ({ nodes: ['na'], rejected: [] }),
    nodes: () => ['na'],
    apply,
  };
  const engine = await TestEngine.open({ workflows: [deployWorkflow(ports)] });
  t.teardown(() => engine.close());
  const revisions: AppRecord[] = [];
  const lifecycle = {
    catalog: {
      revisions: async (app: string) => revisions.filter((record) => record.app.name === app),
      current: async () => new Map(revisions.map((record) => [record.app.name, record])),
    },
    staging: { put: async () => 'staged' },
    submissions: new Turns(),
  } as unknown as Lifecycle;
  const submit = (text: string, web: Uint8Array | string = TINY): Promise<Submitted> =>
    submitDeploy({ source: text, file: 'f', components: { web } }, 'na', lifecycle, engine);
  return { engine, revisions, submit };
}

const never = (): Promise<never> => new Promise(() => {});

test('deploys of one app at the same time are as many generations', async (t) => {
  const { submit } = await node(t, never);
  const submitted = await Promise.all([
    submit(source('1.0.0')),
    submit(source('1.0.0', 'other content')),
    submit(source('1.1.0')),
    submit(source('1.1.0')),
  ]);
  t.same(
    submitted.map(({ workflow, existing }) => [workflow, existing]),
    [
      ['deploy:tiny:1:1.0.0', false],
      ['deploy:tiny:2:1.0.0', false],
      ['deploy:tiny:3:1.1.0', false],
      ['deploy:tiny:3:1.1.0', true],
    ],
  );
});

test('a deploy that ended before its claim does not stand in for the next', async (t) => {
  const noQuorum = new AetherError('no quorum', { code: 'ERR_KV_UNAVAILABLE' });
  const { engine, submit } = await node(t, () => Promise.reject(noQuorum));
  const first = await submit(source('1.0.0'));
  const run = engine.get(first.workflow);
  await run.cancel('given up');
  await t.rejects(run.result());
  t.match(await submit(source('1.0.0')), { generation: 2, existing: false });
});

test('the same content after a failed deploy is a new deploy, after a finished one it is not', async (t) => {
  const claimed: AppRecord[] = [];
  let refuse = true;
  const { engine, revisions, submit } = await node(t, async (_node, _fence, effect) => {
    if (effect.kind === 'claim') claimed.push(effect.record);
    if (effect.kind === 'push' && refuse) {
      throw new AetherError('refused', { code: 'ERR_NOT_AVAILABLE' });
    }
  });
  const first = await submit(source('1.0.0'));
  await t.rejects(engine.get(first.workflow).result());
  revisions.push(...claimed);
  refuse = false;
  const second = await submit(source('1.0.0'));
  t.match(second, { generation: 2, existing: false });
  await engine.get(second.workflow).result();
  revisions.unshift({ ...(claimed[1] as AppRecord), state: 'published' });
  t.match(await submit(source('1.0.0')), { generation: 2, existing: true });
});

test('a component by digest is named by a digest', async (t) => {
  const { submit } = await node(t, never);
  for (const text of ['', 'tiny.wasm', 'sha256:../../../etc/passwd', `sha256:${'A'.repeat(64)}`]) {
    await t.rejects(submit(source('1.0.0'), text), { code: 'ERR_DEPLOY_DIGEST' }, text);
  }
  t.match(await submit(source('1.0.0'), `sha256:${'a'.repeat(64)}`), { generation: 1 });
});

test('a route of another app is refused, whatever its Particle is called', async (t) => {
  const { submit, revisions, engine } = await node(t, never);
  const routed = source('1.0.0').replace('labels:', 'routes: [{path: "/a"}]\n\t\tlabels:');
  const other = readAetherfile(routed.replace('"tiny"', '"other"'), 'f');
  revisions.push({
    app: other,
    components: {},
    content: '',
    generation: 1,
    claimant: 'na',
    workflow: 'deploy:other:1:1.0.0',
    state: 'published',
  });
  await t.rejects(submit(routed), {
    code: 'ERR_DEPLOY_ROUTE_TAKEN',
    message: /\/a of web is a route of app other/,
  });
  for await (const run of engine.list()) t.fail(`${run.id} was started`);
  t.match(await submit(routed.replace('"/a"', '"/b"')), { generation: 1 });
});
