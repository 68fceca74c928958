import { test } from 'tap';
import type { Grant } from '../../spec/aetherfile/app.ts';
import { makeParticle } from '../fixtures/fixture.ts';
import { allowsKey, checkImports, decideOutgoing, listPrefixes } from './grants.ts';

const kv = (keys: string[], ops: ('get' | 'set' | 'list')[], bucket = 'b'): Grant => ({
  kind: 'kv',
  bucket,
  keys,
  ops,
});
const http = (allow: string[], changes: object = {}): Grant => ({
  kind: 'http',
  allow,
  methods: ['GET'],
  tls: true,
  ...changes,
});

test('an import needs a grant, a known name and a known version', (t) => {
  const bare = makeParticle({ grants: [] });
  checkImports(['wasi:io/streams@0.2.0', 'wasi:cli/environment@0.2.12'], bare);
  const refusals: [string, string][] = [
    ['wasi:keyvalue/store@0.2.0-draft', 'ERR_PARTICLE_UNGRANTED_IMPORT'],
    ['wasi:http/outgoing-handler@0.2.10', 'ERR_PARTICLE_UNGRANTED_IMPORT'],
    ['wasi:keyvalue/atomics@0.2.0-draft', 'ERR_NOT_AVAILABLE'],
    ['wasi:blobstore/container@0.2.0', 'ERR_NOT_AVAILABLE'],
    ['wasi:sockets/tcp@0.2.12', 'ERR_PARTICLE_UNKNOWN_IMPORT'],
    ['wasi:io/streams@0.3.0', 'ERR_PARTICLE_UNKNOWN_IMPORT'],
    ['wasi:io/streams', 'ERR_PARTICLE_UNKNOWN_IMPORT'],
    ['__proto__@0.2.0', 'ERR_PARTICLE_UNKNOWN_IMPORT'],
    ['evil:thing/x@1.0.0', 'ERR_PARTICLE_UNKNOWN_IMPORT'],
  ];
  for (const [name, code] of refusals) {
    t.throws(() => checkImports([name], bare), { code, message: new RegExp(name) }, name);
  }
  const granted = makeParticle({ grants: [kv(['*'], ['get'])] });
  checkImports(['wasi:keyvalue/store@0.2.0-draft', 'wasi:keyvalue/store@0.2.0-draft2'], granted);
  t.throws(() => checkImports(['wasi:http/outgoing-handler@0.2.10'], granted), {
    code: 'ERR_PARTICLE_UNGRANTED_IMPORT',
  });
  t.end();
});

test('grants that cannot be served are refused, not ignored', (t) => {
  const grants: Grant[] = [
    { kind: 'blob', container: 'c', prefix: '', ops: ['read'] },
    { kind: 'secret', name: 's', as: 'S' },
    { kind: 'workflow', name: 'w', ops: ['start'] },
    { kind: 'kv', bucket: 'b', keys: ['*'], ops: ['atomic'] },
  ];
  for (const grant of grants) {
    t.throws(() => checkImports([], makeParticle({ grants: [grant] })), {
      code: 'ERR_NOT_AVAILABLE',
    });
  }
  t.end();
});

test('bucket, operation and key have to be in one grant', (t) => {
  const particle = makeParticle({ grants: [kv(['a:*', 'x'], ['get']), kv(['x'], ['set'], 'c')] });
  t.ok(allowsKey(particle, 'b', 'get', 'a:'));
  t.ok(allowsKey(particle, 'b', 'get', 'x'));
  t.notOk(allowsKey(particle, 'b', 'get', 'xy'));
  t.notOk(allowsKey(particle, 'b', 'set', 'x'), 'set is granted in another bucket');
  t.notOk(allowsKey(particle, 'c', 'get', 'x'));
  t.end();
});

test('a listing walks outer prefixes once', (t) => {
  const particle = makeParticle({
    grants: [kv(['a:b:*', 'a:*', 'z'], ['list']), kv(['*'], ['get'])],
  });
  t.same(listPrefixes(particle, 'b'), ['a:', 'z']);
  t.same(listPrefixes(makeParticle({ grants: [kv(['*'], ['get'])] }), 'b'), []);
  t.end();
});

test('outgoing requests need host, port, method and scheme granted', (t) => {
  const particle = makeParticle({
    grants: [
      http(['api.stripe.com', '*.example.org:8443'], { methods: ['GET', 'POST'] }),
      http(['plain.net'], { tls: false }),
      { kind: 'invoke', particle: 'counter', export: '*', budget: '200ms' },
    ],
  });
  const ask = (method: string, url: string): ReturnType<typeof decideOutgoing> => {
    const [scheme, authority] = url.split('://') as [string, string];
    return decideOutgoing(particle, { method, scheme, authority });
  };
  const allowed = ['https://api.stripe.com', 'https://API.stripe.com:443', 'http://plain.net'];
  for (const url of allowed) t.same(ask('GET', url), { allowed: true }, url);
  t.same(ask('GET', 'https://a.example.org:8443'), { allowed: true });
  t.same(ask('GET', 'http://counter.aether'), { allowed: true, budgetMs: 200 });
  const denied = [
    'https://example.org:8443',
    'https://a.example.org',
    'https://evil-api.stripe.com',
    'https://api.stripe.com.evil.net',
    'https://api.stripe.com:8080',
    'http://api.stripe.com',
    'http://other.aether',
    'http://169.254.169.254',
  ];
  for (const url of denied) t.match(ask('GET', url), { allowed: false }, url);
  t.match(ask('DELETE', 'https://api.stripe.com'), { allowed: false, why: /DELETE/ });
  t.end();
});
