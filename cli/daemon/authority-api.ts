/** Calls of the control API that revoke, and replace keys. */
import { AetherError } from '../../spec/error.ts';
import { base32, fromBase32 } from '../../spec/id.ts';
import { memberCalled } from './member-name.ts';
import type { LatticeNode } from './node.ts';
import type { Answer, Call, Route } from './router.ts';

export function authorityRoutes(node: LatticeNode): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/ring/nodes/:id/revoke',
      handler: (call) => revokeNode(node, call),
    },
    {
      method: 'POST',
      path: '/v1/ring/tokens/:id/revoke',
      handler: (call) => revokeToken(node, call),
    },
    { method: 'GET', path: '/v1/ring/root', handler: () => roots(node) },
    { method: 'POST', path: '/v1/ring/root', handler: (call) => rotateRoot(node, call) },
    {
      method: 'POST',
      path: '/v1/ring/issuer',
      handler: async () => ok({ issuer: base32(await node.ring.authority.rotateIssuer()) }),
    },
  ];
}

function ok(json: unknown): Answer {
  return { status: 200, json };
}

async function revokeNode({ ring }: LatticeNode, { params }: Call): Promise<Answer> {
  const named = params['id'] as string;
  const isOut = ring.epoch().revoked.includes(named);
  const id = isOut ? named : memberCalled(ring.members(), named).id;
  await ring.authority.revoke(id);
  return ok({ revoked: id, epoch: ring.epoch().number });
}

async function revokeToken({ ring }: LatticeNode, { params, json }: Call): Promise<Answer> {
  const id = params['id'] as string;
  const { expiresSeconds } = await json();
  const isTime = expiresSeconds === undefined || Number.isSafeInteger(expiresSeconds);
  if (!isTime) throw malformed('expiresSeconds is no Unix time', '{"expiresSeconds": 1800000000}');
  const token = fromBase32(id);
  if (token?.length !== 16)
    throw malformed(`${id} is no token's id`, 'aether cap inspect TOKEN shows it');
  await ring.authority.revokeToken(token, expiresSeconds as number | undefined);
  return ok({ revoked: id, epoch: ring.epoch().number });
}

function roots({ ring }: LatticeNode): Answer {
  const known = ring.authority.roots();
  return ok({ ...known, roots: known.roots.map(base32) });
}

async function rotateRoot({ ring }: LatticeNode, call: Call): Promise<Answer> {
  const body = await call.json();
  const [key, signature, founder] = ['key', 'signature', 'founder'].map((name) => {
    const bytes = fromBase32(String(body[name]));
    if (bytes === undefined || bytes.length === 0)
      throw malformed(`${name} is missing`, 'aether cap rotate-root makes the statement');
    return bytes;
  }) as [Uint8Array, Uint8Array, Uint8Array];
  await ring.authority.rotateRoot({ key, signature, founder });
  return ok({ root: base32(key), epoch: ring.epoch().number });
}

function malformed(message: string, hint: string): AetherError {
  return new AetherError(message, { code: 'ERR_API_PARAMETER', hint });
}
