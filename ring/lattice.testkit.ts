/** Lattices of real nodes inside a test's process, and nodes that keep no rules. */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { nodeId } from '../spec/id.ts';
import { silentLog } from '../spec/log.ts';
import { systemClock } from '../spec/system-clock.ts';
import { Ring, type RingOptions } from './index.ts';
import { createCertificate } from './io/certificate.ts';
import type { SigningKey } from './io/keys.ts';
import { Peers } from './io/peers.ts';
import { RingStore } from './io/ring-store.ts';

export const CALL: { timeoutMs: number } = { timeoutMs: 5_000 };

/** Quick to see a death; slow enough for a busy machine. */
const swim = {
  probeIntervalMs: 200,
  ackTimeoutMs: 100,
  suspicionPeriods: 5,
  reconnectIntervalMs: 300,
};

/** Opens nodes, each in a folder of its name, that are closed with the test and answer `echo`. */
export function opener(t: Test): (name: string, options?: Partial<RingOptions>) => Promise<Ring> {
  const rings = new Set<Ring>();
  let isOver = false;
  // tap removes a folder before it does what was asked for after that was made, and nodes go on writing.
  t.teardown(() => {
    isOver = true;
    return Promise.all([...rings].map((ring) => ring.close()));
  });
  const folder = t.testdir();
  return async (name, options) => {
    if (isOver) throw new Error('the test is over');
    const ring = await Ring.open({ data: join(folder, name), name, swim, ...options });
    rings.add(ring);
    ring.rpc.serve('echo', (body) => body);
    return ring;
  };
}

/** What never comes keeps no process alive once the nodes are closed. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await pause(5, undefined, { ref: false });
}

/** These nodes are the lattice, all alive to each other, and no change is pending. */
export function areWhole(...rings: Ring[]): boolean {
  return rings.every(
    (ring) =>
      ring.epoch().previous === undefined &&
      ring.epoch().members.length === rings.length &&
      ring.members().length === rings.length &&
      ring.members().every(({ state }) => state === 'alive'),
  );
}

/** Every node calls every other. */
export async function echoes(...rings: Ring[]): Promise<void> {
  for (const from of rings)
    for (const to of rings) if (from !== to) await from.rpc.call(to.id, 'echo', 1, CALL);
}

/** The certificate in a node's folder. */
export function kept(t: Test, name: string): Uint8Array {
  const store = new RingStore(join(t.testdirName, name, 'ring.db'));
  const certificate = store.nodeCertificate();
  store.close();
  return certificate as Uint8Array;
}

/** Somebody with a node's key, who keeps no rules. */
export function impostor(
  t: Test,
  key: SigningKey,
  lattice: string,
  certificate?: Uint8Array,
): Peers {
  const peers = new Peers({
    self: nodeId(key.publicKey),
    key: key.secret.export({ format: 'pem', type: 'pkcs8' }),
    certificate: createCertificate(key),
    clock: systemClock,
    log: silentLog,
    hello: () => ({ lattice, epoch: 1, ...(certificate === undefined ? {} : { certificate }) }),
    isMember: () => true,
    linkUp: () => {},
  });
  t.teardown(() => peers.close());
  return peers;
}
