import { test } from 'tap';
import type { App, Grant, Network, Particle, Route } from '../../spec/aetherfile/app.ts';
import { type Identity, decide } from './policy.ts';

const WORLD: Identity = { kind: 'world' };
const WEB: Identity = { kind: 'particle', app: 'shop', particle: 'web' };
const GET = { method: 'GET', path: '/quote' };

function particle(
  name: string,
  parts: { grants?: Grant[]; routes?: Route[]; ingress?: Network['ingress']; audit?: boolean } = {},
): Particle {
  return {
    name,
    grants: parts.grants ?? [],
    routes: parts.routes ?? [],
    network: {
      ingress: parts.ingress ?? [],
      mtls: 'required',
      mode: parts.audit === true ? 'audit' : 'enforce',
    },
  } as unknown as Particle;
}

function app(...particles: Particle[]): App {
  return {
    name: 'shop',
    particles: Object.fromEntries(particles.map((each) => [each.name, each])),
  } as unknown as App;
}

const INVOKE_PAY: Grant = { kind: 'invoke', particle: 'pay', export: '*', budget: '5s' };
const ROUTE: Route = { host: '*', path: '/', methods: [], strip: false };
const PAY = { app: 'shop', particle: 'pay' };

function rule(parts: Partial<Network['ingress'][number]>): Network['ingress'][number] {
  return {
    from: [{ particle: 'web' }],
    ports: [],
    methods: [],
    paths: [],
    action: 'allow',
    ...parts,
  };
}

test('nothing is allowed that no rule allows (P1)', (t) => {
  t.notOk(decide(undefined, WORLD, PAY, GET).allowed, 'an app that is not deployed');
  t.notOk(decide(app(particle('web')), WORLD, PAY, GET).allowed, 'a particle that is not there');
  t.notOk(decide(app(particle('pay')), WORLD, PAY, GET).allowed, 'no route, no rule');
  t.notOk(decide(app(particle('web'), particle('pay')), WEB, PAY, GET).allowed, 'no grant');
  t.end();
});

test('a route lets the world in, and nobody else', (t) => {
  const deployed = app(particle('web'), particle('pay', { routes: [ROUTE] }));
  t.ok(decide(deployed, WORLD, PAY, GET).allowed);
  t.notOk(decide(deployed, WEB, PAY, GET).allowed);
  t.end();
});

test('a call between particles needs the grant of the caller (P2)', (t) => {
  const granted = particle('web', { grants: [INVOKE_PAY] });
  t.ok(decide(app(granted, particle('pay')), WEB, PAY, GET).allowed);
  const verdict = decide(app(particle('web'), particle('pay')), WEB, PAY, GET);
  t.match(verdict.allowWith, /invoke.*pay/, 'the denial says what to write');
  const foreign: Identity = { kind: 'particle', app: 'other', particle: 'web' };
  t.notOk(decide(app(granted, particle('pay')), foreign, PAY, GET).allowed, 'a namesake elsewhere');
  t.end();
});

test('rules of the callee narrow by peer, method and path', (t) => {
  const caller = particle('web', { grants: [INVOKE_PAY] });
  const callee = particle('pay', {
    ingress: [rule({ methods: ['GET'], paths: ['/quote', '/v/*'] })],
  });
  const deployed = app(caller, callee);
  t.ok(decide(deployed, WEB, PAY, GET).allowed);
  t.ok(decide(deployed, WEB, PAY, { method: 'GET', path: '/quote?a=1' }).allowed, 'query ignored');
  t.ok(decide(deployed, WEB, PAY, { method: 'GET', path: '/v/1' }).allowed, 'prefix');
  t.notOk(decide(deployed, WEB, PAY, { method: 'POST', path: '/quote' }).allowed);
  t.notOk(decide(deployed, WEB, PAY, { method: 'GET', path: '/quotes' }).allowed);
  t.notOk(decide(deployed, WORLD, PAY, GET).allowed);
  t.end();
});

test('a rule that denies wins, whatever its place (P3)', (t) => {
  const caller = particle('web', { grants: [INVOKE_PAY] });
  for (const ingress of [
    [rule({}), rule({ paths: ['/refund'], action: 'deny' as const })],
    [rule({ paths: ['/refund'], action: 'deny' as const }), rule({})],
  ]) {
    const deployed = app(caller, particle('pay', { ingress }));
    t.notOk(decide(deployed, WEB, PAY, { method: 'POST', path: '/refund' }).allowed);
    t.ok(decide(deployed, WEB, PAY, GET).allowed);
  }
  t.end();
});

test('a path written in another way meets the same rules', (t) => {
  const ingress = [rule({ paths: ['/v/*'] }), rule({ paths: ['/v/admin*'], action: 'deny' })];
  const callee = particle('pay', { ingress });
  const deployed = app(particle('web', { grants: [INVOKE_PAY] }), callee);
  const isAllowed = (path: string): boolean =>
    decide(deployed, WEB, PAY, { method: 'GET', path }).allowed;
  t.ok(isAllowed('/v/1'));
  t.ok(isAllowed('/v/a%20b'));
  for (const path of [
    '/v/admin',
    '/v/%61dmin',
    '/v//admin',
    '/v/./admin',
    '/v/x/../admin',
    '/v/x/%2e%2e/admin',
    '/v\\admin',
    '/v/../secret',
    '/v/%2e%2e/secret',
  ]) {
    t.notOk(isAllowed(path), path);
  }
  t.end();
});

test('audit lets a denied exchange pass and says so (P4)', (t) => {
  const audited = decide(app(particle('web'), particle('pay', { audit: true })), WEB, PAY, GET);
  t.match(audited, { allowed: true, audited: true, rule: /no invoke grant/ });
  const allowed = decide(app(particle('pay', { audit: true, routes: [ROUTE] })), WORLD, PAY, GET);
  t.match(allowed, { allowed: true, audited: false });
  t.end();
});
