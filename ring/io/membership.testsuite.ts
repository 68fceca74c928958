/** What membership does on whichever loop it runs: nodes of one process with real sockets. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { latticeId } from '../../spec/id.ts';
import { silentLog } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { systemRandom } from '../../spec/system-random.ts';
import { encodeNodeCertificate, nodeCertificateMessage } from '../core/node-certificate.ts';
import type { SwimMember } from '../core/swim-member.ts';
import { keyTag, latticeTag } from '../core/token.ts';
import type { MemberState, Update } from '../core/swim-message.ts';
import { swimOptions } from '../core/swim-options.ts';
import type { RosterMember } from '../core/swim-view.ts';
import { toWire } from '../core/swim-wire.ts';
import { transportLimits } from '../core/transport-limits.ts';
import { createCertificate } from './certificate.ts';
import type { Membership, MembershipOptions } from './membership.ts';
import type { Peers } from './peers.ts';
import { idOf, key, open as openPeers, type Opened, pem } from './peers.testkit.ts';
import { RingStore } from './ring-store.ts';
import type { EpochView } from './swim-protocol.ts';

export const epochOf = (number: number): EpochView => ({ number, issuers: [ISSUER], revoked: [] });

export type Opener = (options: MembershipOptions) => Membership;

/** Quick to see a death; slow enough for a busy machine. */
const QUICK = {
  probeIntervalMs: 200,
  ackTimeoutMs: 100,
  suspicionPeriods: 5,
  reconnectIntervalMs: 300,
};
export const LATTICE: string = latticeId(key(200).publicKey);
const ISSUER = { node: idOf(1), key: key(201).publicKey };

/** Of the node, as its issuer gives it. */
export function certificateOf(node: string): Uint8Array {
  const issuedSeconds = Math.floor(Date.now() / 1_000);
  const unsigned = {
    lattice: latticeTag(LATTICE),
    issuer: keyTag(ISSUER.key),
    node,
    epoch: 1,
    issuedSeconds,
    expiresSeconds: issuedSeconds + 3_600,
  };
  const signature = key(201).sign(nodeCertificateMessage(unsigned));
  return encodeNodeCertificate({ ...unsigned, signature });
}

export class Node {
  readonly id: string;
  readonly address: string;
  readonly peers: Peers;
  readonly store: RingStore;
  readonly epochs: [number: number, from: string][] = [];
  membership: Membership;
  readonly #waiting = new Set<() => void>();
  readonly #open: () => Membership;

  constructor(
    number: number,
    { peers, address }: Opened,
    store: RingStore,
    open: Opener,
    change: Partial<MembershipOptions>,
  ) {
    this.id = idOf(number);
    this.address = address;
    this.peers = peers;
    this.store = store;
    const wake = (): void => {
      for (const look of this.#waiting) look();
    };
    this.#open = () =>
      open({
        self: {
          id: this.id,
          facts: { addresses: [address], protocol: [1, 1], certificateEpoch: 1 },
        },
        swim: swimOptions(QUICK),
        sockets: {
          host: '127.0.0.1',
          key: pem(key(number)),
          certificate: createCertificate(key(number)),
          lattice: LATTICE,
          limits: transportLimits(),
        },
        peers,
        store,
        clock: systemClock,
        random: systemRandom,
        log: silentLog,
        epoch: () => epochOf(1),
        certificate: () => certificateOf(this.id),
        heardEpoch: (heard, from) => {
          this.epochs.push([heard, from]);
          wake();
        },
        changed: wake,
        slept: () => {},
        ...change,
      });
    this.membership = this.#open();
    peers.onLinkDown((node) => this.membership.linkLost(node));
  }

  reopen(): void {
    this.membership = this.#open();
  }

  of(node: Node): SwimMember | undefined {
    return this.membership.member(node.id);
  }

  /** Looked at with each change, and now and then. */
  async until(holds: () => boolean): Promise<void> {
    await new Promise<void>((done) => {
      const look = (): void => {
        if (!holds()) return;
        this.#waiting.delete(look);
        clearInterval(timer);
        done();
      };
      const timer = setInterval(look, 20);
      this.#waiting.add(look);
      look();
    });
  }

  sees(state: MemberState, ...others: Node[]): Promise<void> {
    return this.until(() => others.every((node) => this.of(node)?.state === state));
  }
}

export const rosterOf = (...members: Node[]): RosterMember[] =>
  members.map(({ id, address }) => ({ id, address }));

/** Nodes 1 to `count`, each with the roster of all. */
export async function nodes(
  t: Test,
  count: number,
  open: Opener,
  changeOf: (number: number) => Partial<MembershipOptions> = () => ({}),
): Promise<Node[]> {
  const folder = t.testdir();
  const made: Node[] = [];
  for (let number = 1; number <= count; number++) {
    const opened = await openPeers(t, number);
    const store = new RingStore(join(folder, `${number}.db`));
    const node = new Node(number, opened, store, open, changeOf(number));
    t.teardown(async () => {
      await node.membership.stop();
      store.close();
    });
    made.push(node);
  }
  for (const node of made) {
    for (const { id, address } of made) node.peers.setAddress(id, address);
    node.membership.setRoster(rosterOf(...made));
  }
  return made;
}

export async function membershipSuite(t: Test, open: Opener): Promise<void> {
  await t.test('members find each other and hear what each says of itself', async (test) => {
    const [a, b, c] = (await nodes(test, 3, open)) as [Node, Node, Node];
    await Promise.all([a.sees('alive', b, c), b.sees('alive', a, c), c.sees('alive', a, b)]);
    b.membership.setFacts({
      addresses: ['127.0.0.1:9'],
      protocol: [1, 1],
      certificateEpoch: 1,
      types: ['order'],
    });
    await Promise.all(
      [a, c].map((node) => node.until(() => node.of(b)?.facts?.types !== undefined)),
    );
    test.match(c.of(b), { facts: { types: ['order'] }, address: '127.0.0.1:9' });
    await a.until(() => [b, c].every((node) => (a.of(node)?.rttMs ?? -1) >= 0));
    test.match(a.of(a), { state: 'alive' });
    test.equal(a.membership.member(idOf(7)), undefined, 'no stranger');
  });

  await t.test('who stops is dead, comes back above what it was, and goes', async (test) => {
    const [a, b, c] = (await nodes(test, 3, open)) as [Node, Node, Node];
    await Promise.all([a.sees('alive', b, c), c.sees('alive', a, b)]);
    const before = a.of(b)?.incarnation ?? Infinity;
    await b.membership.stop();
    await Promise.all([a.sees('dead', b), c.sees('dead', b)]);
    b.reopen();
    b.membership.setRoster(rosterOf(a, b, c));
    await Promise.all([a.sees('alive', b), b.sees('alive', a, c), c.sees('alive', b)]);
    test.ok((a.of(b)?.incarnation ?? 0) > before);
    b.membership.leave();
    await Promise.all([a.sees('left', b), c.sees('left', b)]);
    test.match(b.of(b), { id: b.id });
    await a.sees('alive', c);
  });

  await t.test('a member with another epoch is heard of', async (test) => {
    const [a, b] = (await nodes(test, 2, open, (number) => {
      return { epoch: () => epochOf(number) };
    })) as [Node, Node];
    await a.until(() => a.epochs.length > 0);
    await b.until(() => b.epochs.some(([number]) => number === 1));
    test.strictSame(a.epochs[0], [2, b.id]);
  });

  await t.test(
    'a new incarnation is durable before others hear of it, however far it jumps',
    async (test) => {
      const [a, b] = (await nodes(test, 3, open)) as [Node, Node];
      await a.sees('alive', b);
      const { peers: liar } = await openPeers(test, 3);
      liar.setAddress(a.id, a.address);
      for (const jump of [1, 40, 5_000]) {
        const incarnation = (a.of(b)?.incarnation ?? 0) + jump;
        const lie: Update = { id: b.id, state: 'dead', incarnation };
        liar.cast(a.id, 'swim', toWire(1, { kind: 'gossip', incarnation: 1, updates: [lie] }));
        await a.until(() => (a.of(b)?.incarnation ?? 0) > incarnation);
        test.ok(b.store.incarnation() >= (a.of(b)?.incarnation ?? Infinity), `${jump}`);
      }
      await a.sees('alive', b);
    },
  );

  await t.test('who is no member any more is forgotten, and not heard', async (test) => {
    const [a, b, c] = (await nodes(test, 3, open)) as [Node, Node, Node];
    await Promise.all([a.sees('alive', b, c), b.sees('alive', a, c)]);
    a.membership.setRoster(rosterOf(a, b));
    test.equal(a.of(c), undefined);
    await a.sees('alive', b);
  });
}
