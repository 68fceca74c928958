import { test } from 'tap';
import type { App } from '../spec/aetherfile/app.ts';
import { AetherError } from '../spec/error.ts';
import type { HttpRequest, HttpResponse } from '../spec/http.ts';
import { systemClock } from '../spec/system-clock.ts';
import { type DatapathPorts, UserspaceDatapath } from './userspace.ts';

const APP = {
  name: 'shop',
  particles: {
    web: {
      name: 'web',
      grants: [],
      routes: [{ host: '*', path: '/', methods: [], strip: false }],
      network: { ingress: [], mtls: 'required', mode: 'enforce' },
    },
  },
} as unknown as App;
const REQUEST: HttpRequest = {
  method: 'GET',
  scheme: 'http',
  authority: 'shop',
  path: '/',
  headers: [],
  body: new Uint8Array(),
};
const ANSWER: HttpResponse = { status: 200, headers: [], body: new Uint8Array() };
const WEB = { app: 'shop', particle: 'web' };

function datapath(ports: Partial<DatapathPorts>): { path: UserspaceDatapath; asked: string[] } {
  const asked: string[] = [];
  const path = new UserspaceDatapath({
    clock: systemClock,
    app: (name) => (name === APP.name ? APP : undefined),
    backends: () => ['a', 'b'],
    ...ports,
    carry: async (node, service, request) => {
      asked.push(node);
      return ports.carry === undefined ? ANSWER : ports.carry(node, service, request);
    },
  });
  return { path, asked };
}

function failure(code: string): never {
  throw new AetherError(code, { code });
}

test('an allowed exchange goes to the best backend and leaves a flow', async (t) => {
  const { path, asked } = datapath({});
  const { node } = await path.dial({ kind: 'world' }, WEB).exchange(REQUEST);
  t.equal(node, 'a');
  t.same(asked, ['a']);
  t.match(path.flows(), [
    {
      from: 'world',
      to: 'shop/web',
      verdict: 'allowed',
      status: 200,
      node: 'a',
      rule: 'web.routes',
    },
  ]);
});

test('a denied exchange reaches no backend (U1)', async (t) => {
  const { path, asked } = datapath({});
  const caller = { kind: 'particle', app: 'shop', particle: 'other' } as const;
  await t.rejects(path.dial(caller, WEB).exchange(REQUEST), {
    code: 'ERR_DATAPATH_DENIED',
    hint: /invoke/,
  });
  t.same(asked, []);
  t.match(path.flows(), [{ from: 'shop/other', verdict: 'denied', status: 0 }]);
});

test('a backend that saw nothing is passed over; one that may have seen it is not (U2)', async (t) => {
  const unreachable = datapath({
    carry: async (node) => (node === 'a' ? failure('ERR_RING_UNREACHABLE') : ANSWER),
  });
  const { node } = await unreachable.path.dial({ kind: 'world' }, WEB).exchange(REQUEST);
  t.equal(node, 'b');

  const unknown = datapath({ carry: async () => failure('ERR_RING_TIMEOUT') });
  await t.rejects(unknown.path.dial({ kind: 'world' }, WEB).exchange(REQUEST), {
    code: 'ERR_RING_TIMEOUT',
  });
  t.same(unknown.asked, ['a'], 'offered once');
});

test('no backend is an error with a name', async (t) => {
  const none = datapath({ backends: () => [] });
  await t.rejects(none.path.dial({ kind: 'world' }, WEB).exchange(REQUEST), {
    code: 'ERR_DATAPATH_NO_BACKEND',
    message: /no live node/,
  });
  const dead = datapath({ carry: async () => failure('ERR_RING_UNREACHABLE') });
  await t.rejects(dead.path.dial({ kind: 'world' }, WEB).exchange(REQUEST), {
    message: /none of 2 nodes/,
  });
});

test('listeners hear of each flow until they end', async (t) => {
  const { path } = datapath({});
  let heard = 0;
  const end = path.onFlow(() => (heard += 1));
  await path.dial({ kind: 'world' }, WEB).exchange(REQUEST);
  end();
  await path.dial({ kind: 'world' }, WEB).exchange(REQUEST);
  t.equal(heard, 1);
});
