import { test } from 'tap';
import type { HttpRequest, HttpResponse } from '../../../spec/http.ts';
import { INTERFACES } from '../../core/interfaces.ts';
import { LogGate } from '../../core/log-gate.ts';
import type { HostCall, KeyPage } from '../protocol.ts';
import { makeImports } from './imports.ts';
import { useAllowance } from './allowance.ts';
import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam, serve } from './http.ts';
import { Pollable, poll } from './io.ts';
import type { GuestContext } from './resource.ts';

/** Enough for every test. */
useAllowance({ bytes: 2 ** 20 });

function makeContext(changes: Partial<GuestContext> = {}): GuestContext {
  const gate = new LogGate(0, () => {});
  return {
    env: {},
    config: { color: 'red' },
    buckets: new Set(['b']),
    stdout: gate,
    stderr: gate,
    exchanges: 0,
    exchangesMax: 1,
    call: () => Promise.reject(new Error('not asked here')),
    sleep: () => Promise.resolve(),
    ...changes,
  };
}

test('every interface that may be imported is there', (t) => {
  for (const [name, access] of Object.entries(INTERFACES)) {
    if (access.kind === 'unavailable') continue;
    const made = makeImports([{ interface: name, version: '0.2.0' }], makeContext());
    t.same(Object.keys(made), [name]);
    t.not(Object.keys(made[name] ?? {}).length, 0, name);
  }
  t.end();
});

/** What the guest hears when the host refuses. */
function refusalOf(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return (error as { payload?: unknown }).payload;
  }
}

interface Listing {
  listKeys(cursor: unknown): Promise<{ keys: string[]; cursor: unknown }>;
}

for (const [version, type] of [
  ['0.2.0-draft', 'bigint'],
  ['0.2.0-draft2', 'string'],
] as const) {
  test(`keys are paged by ${type} in ${version}`, async (t) => {
    const pages: KeyPage[] = [
      { keys: ['a', 'b'], after: 'b' },
      { keys: ['c'], after: undefined },
    ];
    const asked: HostCall[] = [];
    const call = (body: HostCall): Promise<unknown> => {
      asked.push(body);
      return Promise.resolve(pages[asked.length - 1]);
    };
    const store = makeImports(
      [{ interface: 'wasi:keyvalue/store', version }],
      makeContext({ call }),
    );
    const { open } = store['wasi:keyvalue/store'] as {
      open: (name: string) => Listing;
    };
    const bucket = open('b');
    const first = await bucket.listKeys(undefined);
    t.equal(typeof first.cursor, type);
    t.same(await bucket.listKeys(first.cursor), { keys: ['c'], cursor: undefined });
    t.match(asked, [{ after: undefined }, { after: 'b' }]);
    t.same(
      refusalOf(() => open('other')),
      { tag: 'access-denied' },
    );
  });
}

test('the configuration is what the Aetherfile says', (t) => {
  const made = makeImports(
    [{ interface: 'wasi:config/runtime', version: '0.2.0-draft' }],
    makeContext(),
  );
  const { get, getAll } = made['wasi:config/runtime'] as {
    get: (key: string) => unknown;
    getAll: () => unknown;
  };
  t.equal(get('color'), 'red');
  t.equal(get('constructor'), undefined);
  t.same(getAll(), [['color', 'red']]);
  t.end();
});

test('what a guest holds counts until it lets go of it', (t) => {
  useAllowance({ bytes: 2_000 });
  const body = new OutgoingResponse(new Fields()).body();
  const stream = body.write();
  stream.write(new Uint8Array(200));
  t.match(
    refusalOf(() => stream.write(new Uint8Array(800))),
    { tag: 'last-operation-failed' },
  );
  t.throws(() => [new Fields(), new Fields(), new Fields()], /too many resources/);
  t.end();
});

test('nothing stays charged for an answer that was sent', async (t) => {
  const allowance = { bytes: 2 ** 20 };
  useAllowance(allowance);
  const request: HttpRequest = {
    method: 'POST',
    scheme: 'http',
    authority: 'a',
    path: '/',
    headers: [['x-one', '1']],
    body: new Uint8Array(1_000),
  };
  const answer = await serve(async (incoming, outparam) => {
    const taken = incoming.consume();
    const input = taken.stream();
    const headers = Fields.fromList([['x-two', new Uint8Array([50])]]);
    const response = new OutgoingResponse(headers);
    const seen = response.headers();
    const body = response.body();
    const output = body.write();
    output.splice(input, 1_000n);
    for (const handle of [seen, input, taken, incoming, output]) handle[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
    ResponseOutparam.set(outparam, { tag: 'ok', val: response });
  }, request);
  t.match(answer, { status: 200, headers: [['x-two', '2']] });
  t.equal((answer as HttpResponse).body.length, 1_000);
  t.equal(allowance.bytes, 2 ** 20);
});

test('poll returns all that are ready, and waits when none is', async (t) => {
  useAllowance({ bytes: 2 ** 20 });
  let isReady = false;
  const wake = Promise.withResolvers<void>();
  const late = new Pollable(
    () => isReady,
    () => wake.promise,
  );
  t.same(await poll([late, Pollable.always()]), Uint32Array.from([1]));
  const waiting = poll([late, late]);
  isReady = true;
  wake.resolve();
  t.same(await waiting, Uint32Array.from([0, 1]));
  await t.rejects(poll([]), /poll of nothing/);
});
