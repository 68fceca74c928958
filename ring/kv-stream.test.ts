import { type Test, test } from 'tap';
import { seededRandom } from '../spec/random.ts';
import { systemClock } from '../spec/system-clock.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import { epochOf } from './epoch.testkit.ts';
import { HashRing } from './core/hash-ring.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { placementKey } from './core/kv-row.ts';
import { Disk, MemoryReplicaStore, Network } from './kv-network.testkit.ts';
import { KeyValueStore } from './kv.ts';

const KEYS = Array.from({ length: 60 }, (_, i) => `key${i}`);
/** 60 of them do not fit one page. */
const VALUE = new Uint8Array(64 * 1024);

interface Change {
  network: Network;
  disks: Map<string, Disk>;
  pending: Epoch;
  /** Starts the node that joins, or starts it again on its disk. */
  joiner(): KeyValueStore;
  members: KeyValueStore[];
  /** Requests for pages, in order. */
  scans: string[];
}

/** Three members with all keys, and an epoch in which a fourth comes. */
async function pendingJoin(t: Test, replicas: number, keys = KEYS): Promise<Change> {
  const members: EpochMember[] = [];
  for (const id of ['n1', 'n2', 'n3', 'n4']) {
    const tokens = allocateTokens(members, { weight: 1 });
    members.push({ id, name: id, address: '', roles: [], weight: 1, tokens });
  }
  const previous = members.slice(0, 3);
  const settled: Epoch = epochOf(previous);
  const pending: Epoch = { ...settled, number: 2, members, previous };
  const network = new Network(systemClock, seededRandom(1));
  t.teardown(() => network.close());
  const scans: string[] = [];
  network.intercept = (node, method, _body, handler) => {
    if (method === 'kv.scan') scans.push(node);
    return handler;
  };
  const disks = new Map(members.map(({ id }) => [id, new Disk()]));
  const start = (id: string, first: Epoch): KeyValueStore => {
    let epoch = first;
    const kv = new KeyValueStore({
      rpc: network.up(id),
      store: new MemoryReplicaStore(disks.get(id) as Disk, systemClock, () => 0),
      clock: systemClock,
      epoch: () => epoch,
      learn: async () => {
        epoch = pending;
      },
      timeoutMs: 30_000,
    });
    t.teardown(() => kv.close());
    return kv;
  };
  const stores = previous.map(({ id }) => start(id, settled));
  const [first] = stores as [KeyValueStore];
  if (keys.length > 0) await first.createBucket('b', { class: 'eventual', replicas });
  const bucket = first.bucket('b');
  await Promise.all(keys.map((key) => bucket.put(key, VALUE, { consistency: 'all' })));
  const joiner = (): KeyValueStore => start('n4', pending);
  return { network, disks, pending, members: stores, scans, joiner };
}

/** Keys that the joiner owns after the change and lacks. */
function missing({ pending, disks }: Change, replicas: number): string[] {
  const ring = new HashRing(pending.members);
  return KEYS.filter(
    (key) =>
      ring.owners(placementKey('b', key), replicas).includes('n4') &&
      disks.get('n4')?.rows.has(placementKey('b', key)) !== true,
  );
}

for (const replicas of [1, 2, 3, 5]) {
  test(`a new owner has all that it owns, ${replicas} replicas`, async (t) => {
    const change = await pendingJoin(t, replicas);
    t.ok(missing(change, replicas).length > 0);
    await change.joiner().stream(change.pending);
    t.strictSame(missing(change, replicas), []);
  });
}

test('a quorum of the previous owners is enough, and needed', async (t) => {
  const change = await pendingJoin(t, 3);
  change.network.down('n1');
  const joiner = change.joiner();
  await joiner.stream(change.pending);
  t.strictSame(missing(change, 3), []);

  const other = await pendingJoin(t, 3);
  other.network.down('n1');
  other.network.down('n2');
  await t.rejects(other.joiner().stream(other.pending), { code: 'ERR_KV_UNAVAILABLE' });
});

test('a restart goes on from the page that was on disk', async (t) => {
  const whole = await pendingJoin(t, 3);
  await whole.joiner().stream(whole.pending);

  const change = await pendingJoin(t, 3);
  const { network, scans } = change;
  const { intercept } = network;
  network.intercept = (node, method, body, handler) => {
    if (method === 'kv.scan' && scans.length === whole.scans.length - 1)
      return () => {
        throw new Error('the last page is lost');
      };
    return intercept(node, method, body, handler);
  };
  await t.rejects(change.joiner().stream(change.pending), { code: 'ERR_KV_UNAVAILABLE' });
  network.intercept = intercept;
  await change.joiner().stream(change.pending);
  t.strictSame(missing(change, 3), []);
  t.ok(whole.scans.length > 3, 'there are several pages');
  t.ok(
    scans.length <= whole.scans.length + 1,
    `${scans.length} pages, ${whole.scans.length} at best`,
  );
});

test('what is on disk of a source is noted, and nothing of one that has nothing', async (t) => {
  const change = await pendingJoin(t, 3);
  await change.joiner().stream(change.pending);
  t.match(change.disks.get('n4')?.notes.get('stream'), /"done":\["n/);

  const empty = await pendingJoin(t, 3, []);
  await empty.joiner().stream(empty.pending);
  t.ok(empty.scans.length > 0);
  t.equal(empty.disks.get('n4')?.notes.get('stream'), undefined);
});

test('a row damaged at a source comes from the other owners', async (t) => {
  const change = await pendingJoin(t, 3);
  for (const key of KEYS.slice(0, 20)) change.disks.get('n1')?.damaged.add(placementKey('b', key));
  await change.joiner().stream(change.pending);
  t.strictSame(missing(change, 3), []);
});

test('who gains nothing reads nothing', async (t) => {
  const change = await pendingJoin(t, 3);
  await change.members[0]?.stream(change.pending);
  await change.members[0]?.stream({
    ...change.pending,
    number: 3,
    previous: change.pending.members,
  });
  t.strictSame(change.scans, []);
});
