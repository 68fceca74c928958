/** The control API of a node: every call of `/v1`, and the HTTP status of each error code. */
import { durationMs } from '../../spec/duration.ts';
import { AetherError, type ErrorBody, NotAvailableError, errorBody } from '../../spec/error.ts';
import {
  type Bundle,
  bucketOf,
  REMOVE_WORKFLOW,
  removeId,
  type RemoveIntent,
  submitDeploy,
  WEIGH_WORKFLOW,
  weighId,
  type WeighIntent,
} from '../../particle/index.ts';
import type { Consistency } from '../../ring/index.ts';
import { authorityRoutes } from './authority-api.ts';
import { streamEvents, streamLogs } from './event-stream.ts';
import { memberCalled } from './member-name.ts';
import type { LatticeNode } from './node.ts';
import type { Answer, Call, Route } from './router.ts';

const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  ERR_API_BODY: 400,
  ERR_API_BODY_TOO_LARGE: 413,
  ERR_API_METHOD: 405,
  ERR_API_NOT_FOUND: 404,
  ERR_API_ORIGIN: 403,
  ERR_API_PARAMETER: 400,
  ERR_APP_NOT_FOUND: 404,
  ERR_DATAPATH_DENIED: 403,
  ERR_DATAPATH_NO_BACKEND: 503,
  ERR_DURATION: 400,
  ERR_DEPLOY_COMPONENT_MISSING: 422,
  ERR_DEPLOY_COMPONENT_UNKNOWN: 422,
  ERR_DEPLOY_DIGEST: 422,
  ERR_DEPLOY_ROUTE_TAKEN: 409,
  ERR_DEPLOY_SUPERSEDED: 409,
  ERR_ENGINE_ALREADY_EXISTS: 409,
  ERR_ENGINE_NOT_FOUND: 404,
  ERR_ENGINE_PAYLOAD_TOO_LARGE: 413,
  ERR_ENGINE_PAYLOAD_TYPE: 422,
  ERR_KV_BUCKET_EXISTS: 409,
  ERR_KV_BUCKET_UNKNOWN: 404,
  ERR_KV_CONFLICT: 412,
  ERR_KV_BUCKET_CLASS: 400,
  ERR_KV_BUCKET_NAME: 400,
  ERR_KV_KEY_INVALID: 400,
  ERR_KV_KEY_NOT_FOUND: 404,
  ERR_KV_REPLICAS: 400,
  ERR_KV_UNAVAILABLE: 503,
  ERR_KV_UNKNOWN_OUTCOME: 504,
  ERR_KV_VALUE_TOO_LARGE: 413,
  ERR_NOT_AVAILABLE: 501,
  ERR_PARTICLE_BUSY: 503,
  ERR_PARTICLE_CLOSED: 503,
  ERR_PARTICLE_NOT_FOUND: 404,
  ERR_PARTICLE_NO_EXPORT: 404,
  ERR_PARTICLE_TIMEOUT: 504,
  ERR_PARTICLE_TRAP: 500,
  ERR_PARTICLE_WORKER_LOST: 503,
  ERR_RING_CHANGE_REFUSED: 409,
  ERR_RING_LAST_VOTER: 409,
  ERR_RING_NODE_ALIVE: 409,
  ERR_RING_NODE_AMBIGUOUS: 409,
  ERR_RING_NODE_NOT_FOUND: 404,
  ERR_RING_NOT_ISSUER: 403,
  ERR_RING_NO_QUORUM: 503,
  ERR_RING_OPTION: 400,
  ERR_RING_REVOKE_SELF: 409,
  ERR_RING_ROOT_FORGED: 403,
  ERR_RING_ROOT_WEAK: 422,
  ERR_RING_TIMEOUT: 504,
  ERR_RING_UNREACHABLE: 503,
};

/** Areas whose other codes refuse what a bundle holds. */
const REFUSED_CONTENT = /^ERR_(AETHERFILE|CUE|PARTICLE)_/;

export function statusOf(code: string): number {
  return STATUS_BY_CODE[code] ?? (REFUSED_CONTENT.test(code) ? 422 : 500);
}

/** The calls of one node. */
export function apiRoutes(node: LatticeNode): Route[] {
  return [
    { method: 'GET', path: '/v1/status', handler: async () => ok(await node.status()) },
    { method: 'GET', path: '/v1/ring/owners', handler: (call) => owners(node, call) },
    { method: 'GET', path: '/v1/ring/nodes/:id', handler: (call) => why(node, call) },
    {
      method: 'POST',
      path: '/v1/ring/nodes/:id/drain',
      handler: (call) => weigh(node, call, 0),
    },
    {
      method: 'POST',
      path: '/v1/ring/nodes/:id/remove',
      handler: (call) => remove(node, call),
    },
    {
      method: 'POST',
      path: '/v1/ring/nodes/:id/weigh',
      handler: async (call) => weigh(node, call, weightIn(await call.json())),
    },
    ...authorityRoutes(node),
    { method: 'POST', path: '/v1/ring/repair', handler: unavailable('repair') },
    {
      method: 'POST',
      path: '/v1/node/leave',
      handler: async () => {
        const { id: workflow } = await node.beginLeave();
        return { status: 202, json: { workflow } };
      },
    },

    { method: 'PUT', path: '/v1/kv/:bucket', handler: (call) => createBucket(node, call) },
    { method: 'GET', path: '/v1/kv/:bucket', handler: (call) => listKeys(node, call) },
    { method: 'POST', path: '/v1/kv/:bucket', handler: unavailable('batches of writes') },
    { method: 'PUT', path: '/v1/kv/:bucket/:key', handler: (call) => putKey(node, call) },
    { method: 'GET', path: '/v1/kv/:bucket/:key', handler: (call) => getKey(node, call) },
    { method: 'DELETE', path: '/v1/kv/:bucket/:key', handler: (call) => deleteKey(node, call) },
    {
      method: 'POST',
      path: '/v1/kv/:bucket/:key/increment',
      handler: unavailable('increment'),
    },

    { method: 'POST', path: '/v1/workflows', handler: (call) => startWorkflow(node, call) },
    { method: 'GET', path: '/v1/workflows', handler: (call) => listWorkflows(node, call) },
    { method: 'GET', path: '/v1/workflows/:id', handler: (call) => showWorkflow(node, call) },
    {
      method: 'GET',
      path: '/v1/workflows/:id/history',
      handler: (call) => exportHistory(node, call),
    },
    {
      method: 'POST',
      path: '/v1/workflows/:id/signals/:name',
      handler: (call) => signalWorkflow(node, call),
    },
    {
      method: 'POST',
      path: '/v1/workflows/:id/cancel',
      handler: async ({ params, json }) => {
        const { reason } = await json();
        await node.engine
          .get(name(params, 'id'))
          .cancel(typeof reason === 'string' ? reason : undefined);
        return { status: 202 };
      },
    },

    { method: 'POST', path: '/v1/apps', handler: (call) => deploy(node, call) },
    { method: 'GET', path: '/v1/apps', handler: async () => ok(await apps(node)) },
    { method: 'GET', path: '/v1/apps/:app', handler: (call) => showApp(node, call) },
    {
      method: 'GET',
      path: '/v1/particles',
      handler: async () => ok({ particles: await node.lifecycle.instances() }),
    },
    {
      method: 'POST',
      path: '/v1/particles/:app/:particle/invoke',
      handler: (call) => invoke(node, call),
    },
    {
      method: 'GET',
      path: '/v1/effects',
      handler: async ({ query }) =>
        ok({ effects: await node.lifecycle.effects(query.get('workflow') ?? undefined) }),
    },
    {
      method: 'GET',
      path: '/v1/flows',
      handler: () => ok({ flows: node.lifecycle.datapath.flows() }),
    },
    { method: 'GET', path: '/v1/logs', handler: (call) => streamLogs(node, call) },
    { method: 'GET', path: '/v1/events', handler: (call) => streamEvents(node, call) },
    {
      method: 'GET',
      path: '/v1/metrics',
      handler: async () => {
        const { contentType, text } = await node.metrics.render();
        return {
          status: 200,
          bytes: new TextEncoder().encode(text),
          headers: { 'content-type': contentType },
        };
      },
    },
  ];
}

function ok(json: unknown): Answer {
  return { status: 200, json };
}

function unavailable(what: string): () => never {
  return () => {
    throw new NotAvailableError(`${what}: not in this release`, {
      hint: 'CHANGELOG.md says what each release brings',
    });
  };
}

/** A named segment of the path, which the router has found. */
function name(params: Record<string, string>, key: string): string {
  return params[key] as string;
}

function parameterError(message: string, hint: string): AetherError {
  return new AetherError(message, { code: 'ERR_API_PARAMETER', hint });
}

/** Of a key of a bucket, or of a key of the ring itself. */
async function owners({ ring, kv }: LatticeNode, { query }: Call): Promise<Answer> {
  const [key, bucket] = [query.get('key'), query.get('bucket')];
  if (key === null || key === '')
    throw parameterError('no key was given', '/v1/ring/owners?key=KEY');
  const nodes = bucket === null ? ring.owners(key) : await kv.owners(bucket, key);
  return ok({ epoch: ring.epoch().number, owners: nodes });
}

/** The member, and what led to the state in which this node sees it. */
function why({ ring }: LatticeNode, { params }: Call): Answer {
  const { id } = memberCalled(ring.members(), name(params, 'id'));
  return ok({ by: ring.id, ...ring.why(id) });
}

/** Has a workflow give the member another share; asking again while nothing has changed is asking once. */
async function weigh(
  { ring, engine }: LatticeNode,
  { params }: Call,
  weight: number,
): Promise<Answer> {
  const { id } = memberCalled(ring.members(), name(params, 'id'));
  ring.checkWeight(id, weight);
  const intent: WeighIntent = { node: id, weight };
  const { id: workflow } = await engine.start(WEIGH_WORKFLOW, intent, {
    id: weighId(intent, ring.epoch().number),
    onConflict: 'use-existing',
    onClosed: 'restart-if-failed',
  });
  return { status: 202, json: { workflow } };
}

/** Has a workflow take a dead member out. */
async function remove({ ring, engine }: LatticeNode, { params }: Call): Promise<Answer> {
  const { id, name: called } = memberCalled(ring.members(), name(params, 'id'));
  if (ring.isAlive(id)) {
    throw new AetherError(`${called} is alive`, {
      code: 'ERR_RING_NODE_ALIVE',
      hint: 'let it go by itself: aether node leave, asked of that node; or stop it, and wait until it is dead',
    });
  }
  const intent: RemoveIntent = { node: id };
  const { id: workflow } = await engine.start(REMOVE_WORKFLOW, intent, {
    id: removeId(intent, ring.epoch().number),
    onConflict: 'use-existing',
    onClosed: 'restart-if-failed',
  });
  return { status: 202, json: { workflow } };
}

function weightIn({ weight }: Record<string, unknown>): number {
  if (typeof weight === 'number') return weight;
  throw parameterError('no weight was given', '{"weight": 1}');
}

async function createBucket(node: LatticeNode, { params, json }: Call): Promise<Answer> {
  const options = await json();
  const { created } = await node.kv.createBucket(
    name(params, 'bucket'),
    options as unknown as Parameters<typeof node.kv.createBucket>[1],
  );
  return { status: created ? 201 : 200, json: { bucket: params['bucket'] } };
}

async function listKeys(node: LatticeNode, { params, query }: Call): Promise<Answer> {
  if (query.has('watch')) unavailable('watch')();
  const limit = numberIn(query, 'limit', 1_000);
  const [prefix, after] = [query.get('prefix'), query.get('after')];
  const keys: { key: string; version: string }[] = [];
  const listing = node.kv.bucket(name(params, 'bucket')).list({
    ...(prefix === null ? {} : { prefix }),
    ...(after === null ? {} : { after }),
    limit,
  });
  for await (const entry of listing) keys.push(entry);
  return ok({ keys, ...(keys.length === limit ? { next: keys.at(-1)?.key } : {}) });
}

async function getKey(node: LatticeNode, { params, query }: Call): Promise<Answer> {
  const bucket = node.kv.bucket(name(params, 'bucket'));
  const found = await bucket.get(name(params, 'key'), consistencyIn(query));
  if (found === undefined) {
    throw new AetherError(`no key ${params['key']} in bucket ${params['bucket']}`, {
      code: 'ERR_KV_KEY_NOT_FOUND',
    });
  }
  return { status: 200, bytes: found.value, headers: { etag: `"${found.version}"` } };
}

async function putKey(node: LatticeNode, call: Call): Promise<Answer> {
  const bucket = node.kv.bucket(name(call.params, 'bucket'));
  const version = await bucket.put(name(call.params, 'key'), await call.body(), {
    ...consistencyIn(call.query),
    ...conditionIn(call),
    ...requestIdIn(call),
  });
  return { status: 200, headers: { etag: `"${version}"` } };
}

async function deleteKey(node: LatticeNode, call: Call): Promise<Answer> {
  const { expect } = conditionIn(call);
  await node.kv.bucket(name(call.params, 'bucket')).delete(name(call.params, 'key'), {
    ...consistencyIn(call.query),
    ...requestIdIn(call),
    ...(typeof expect === 'string' ? { expect } : {}),
  });
  return { status: 204 };
}

function consistencyIn(query: URLSearchParams): { consistency?: Consistency } {
  const text = query.get('consistency');
  if (text === null) return {};
  if (text === 'one' || text === 'quorum' || text === 'local-quorum' || text === 'all') {
    return { consistency: text };
  }
  throw parameterError(`no such consistency: ${text}`, 'one of: one, quorum, local-quorum, all');
}

function conditionIn({ req }: Call): { expect?: string | null } {
  if (req.headers['if-none-match'] === '*') return { expect: null };
  const match = req.headers['if-match'];
  return match === undefined ? {} : { expect: match.replace(/^"(.*)"$/, '$1') };
}

function requestIdIn({ req }: Call): { requestId?: string } {
  const key = req.headers['idempotency-key'];
  return typeof key === 'string' ? { requestId: key } : {};
}

function numberIn(query: URLSearchParams, key: string, fallback: number): number {
  const text = query.get(key);
  if (text === null) return fallback;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw parameterError(`${key}=${text} is not a positive whole number`, `${key}=100`);
}

async function startWorkflow(node: LatticeNode, { json }: Call): Promise<Answer> {
  const { name: type, input, id, onConflict, onClosed } = await json();
  if (typeof type !== 'string') {
    throw parameterError('no workflow name was given', '{"name": …, "input": …}');
  }
  const options = { id, onConflict, onClosed };
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  const before =
    typeof id === 'string'
      ? await node.engine
          .get(id)
          .describe()
          .catch(() => undefined)
      : undefined;
  const handle = await node.engine.start(type, input, given);
  const { runId } = await handle.describe();
  return { status: before?.runId === runId ? 200 : 201, json: { id: handle.id, runId } };
}

async function listWorkflows(node: LatticeNode, { query }: Call): Promise<Answer> {
  const [type, status] = [query.get('name'), query.get('status')];
  const workflows: unknown[] = [];
  const filter = {
    ...(type === null ? {} : { name: type }),
    ...(status === null ? {} : { status: status as never }),
    limit: numberIn(query, 'limit', 100),
    newestFirst: true,
  };
  for await (const summary of node.engine.list(filter)) workflows.push(summary);
  return ok({ workflows });
}

async function showWorkflow(node: LatticeNode, { params, query }: Call): Promise<Answer> {
  const handle = node.engine.get(name(params, 'id'));
  const wait = query.get('wait');
  const summary = await handle.describe();
  const timeout = wait === null ? 0 : durationMs(wait);
  if (timeout === 0 && OPEN.has(summary.status)) return ok(summary);
  try {
    const result = await handle.result({ timeout });
    return ok({ ...(await handle.describe()), result });
  } catch (error) {
    const now = await handle.describe();
    return ok(OPEN.has(now.status) ? now : { ...now, error: failureIn(error) });
  }
}

/** Why a run has no result; `cause` is what escaped its body. */
function failureIn(error: unknown): ErrorBody & { cause?: Pick<ErrorBody, 'code' | 'message'> } {
  const { cause } = error as { cause?: Partial<ErrorBody> };
  const { code, message } = cause ?? {};
  if (code === undefined || message === undefined) return errorBody(error);
  return { ...errorBody(error), cause: { code, message } };
}

async function exportHistory(node: LatticeNode, { params, query }: Call): Promise<Answer> {
  const run = query.get('run');
  const which = run === null ? {} : { runId: run };
  return ok(await node.engine.get(name(params, 'id'), which).history());
}

/** A run in one of these has no result yet. */
const OPEN: ReadonlySet<string> = new Set(['running', 'sleeping', 'stuck', 'quarantined']);

async function signalWorkflow(node: LatticeNode, call: Call): Promise<Answer> {
  const payload = await call.value();
  const { requestId } = requestIdIn(call);
  await node.engine
    .get(name(call.params, 'id'))
    .signal(name(call.params, 'name'), payload, requestId === undefined ? {} : { id: requestId });
  return { status: 202 };
}

async function deploy(node: LatticeNode, call: Call): Promise<Answer> {
  const bundle = await bundleIn(call);
  const submitted = await submitDeploy(bundle, node.id, node.lifecycle, node.engine);
  return { status: submitted.existing ? 200 : 202, json: submitted };
}

/** A bundle as multipart: `aetherfile`, a file per particle or its digest as text. */
async function bundleIn(call: Call): Promise<Bundle> {
  const form = await new Response((await call.body()) as Uint8Array<ArrayBuffer>, {
    headers: { 'content-type': call.req.headers['content-type'] ?? '' },
  })
    .formData()
    .catch((error: unknown) => {
      throw new AetherError('the bundle is not multipart/form-data', {
        code: 'ERR_API_BODY',
        hint: 'send `aetherfile` and a file per particle, as `aether deploy` does',
        cause: error,
      });
    });
  const components: Bundle['components'] = Object.create(null);
  const bundle: Bundle = { source: '', file: 'Aetherfile', components };
  for (const [field, value] of form) {
    if (field !== 'aetherfile') {
      bundle.components[field] =
        typeof value === 'string' ? value : new Uint8Array(await value.arrayBuffer());
    } else if (typeof value === 'string') {
      bundle.source = value;
    } else {
      bundle.source = await value.text();
      bundle.file = value.name;
    }
  }
  return bundle;
}

async function apps(node: LatticeNode): Promise<{ apps: object[] }> {
  const current = await node.lifecycle.catalog.current();
  return {
    apps: [...current.values()].map(({ app, generation, workflow, components }) => ({
      app: app.name,
      version: app.version,
      generation,
      workflow,
      components,
    })),
  };
}

async function showApp(node: LatticeNode, { params }: Call): Promise<Answer> {
  const app = name(params, 'app');
  const current = (await node.lifecycle.catalog.revisions(app)).find(
    ({ state }) => state === 'published',
  );
  if (current === undefined) {
    throw new AetherError(`no app ${app} is deployed`, {
      code: 'ERR_APP_NOT_FOUND',
      hint: '`aether ps` lists what is',
    });
  }
  const instances = (await node.lifecycle.instances()).filter((instance) => instance.app === app);
  const buckets = Object.keys(current.app.kv).map((bucket) => bucketOf(app, bucket));
  return ok({ ...current, buckets, instances });
}

async function invoke(node: LatticeNode, { params, json }: Call): Promise<Answer> {
  const { export: exported, args = [] } = await json();
  if (typeof exported !== 'string' || !Array.isArray(args)) {
    throw parameterError('an invocation names an export', '{"export": …, "args": […]}');
  }
  const service = { app: name(params, 'app'), particle: name(params, 'particle') };
  const { node: served, result } = await node.lifecycle.invoke(service, exported, args);
  return { status: 200, json: { result }, headers: { 'aether-node': served } };
}
