/** Clocks that are wrong: what they may cost, and what not. */
import { type Test, test } from 'tap';
import { seededRandom } from '../spec/random.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import { epochOf } from './epoch.testkit.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { Disk, MemoryReplicaStore, Network, VirtualClock } from './kv-network.testkit.ts';
import { KeyValueStore } from './kv.ts';

interface Node {
  kv: KeyValueStore;
  skew: { ms: number };
}

const HOUR_MS = 3_600_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function threeNodes(
  t: Test,
  story: (nodes: [Node, Node, Node]) => Promise<void>,
): Promise<void> {
  const members: EpochMember[] = [];
  for (const id of ['n1', 'n2', 'n3']) {
    const tokens = allocateTokens(members, { weight: 1 });
    members.push({ id, name: id, address: '', roles: [], weight: 1, tokens });
  }
  const epoch: Epoch = epochOf(members);
  const time = new VirtualClock();
  const network = new Network(time, seededRandom(1));
  const nodes = members.map(({ id }): Node => {
    const skew = { ms: 0 };
    const clock = time.of(skew);
    const kv = new KeyValueStore({
      rpc: network.up(id),
      store: new MemoryReplicaStore(new Disk(), clock, () => 0),
      clock,
      epoch: () => epoch,
      learn: async () => {},
    });
    t.teardown(() => kv.close());
    return { kv, skew };
  });
  const all = async (): Promise<void> => {
    await nodes[0]?.kv.createBucket('b', { class: 'eventual' });
    await story(nodes as [Node, Node, Node]);
  };
  await time.run(all());
}

test('a slow clock writes over what a fast one wrote', (t) =>
  threeNodes(t, async ([fast, slow]) => {
    fast.skew.ms = 400;
    const first = await fast.kv.bucket('b').put('k', bytes('first'));
    const second = await slow.kv.bucket('b').put('k', bytes('second'));
    t.ok(second > first);
    t.match(await fast.kv.bucket('b').get('k'), { version: second });
  }));

test('a clock an hour ahead writes nothing, and locks nobody out', (t) =>
  threeNodes(t, async ([wild, other, third]) => {
    const before = await other.kv.bucket('b').put('k', bytes('before'));
    wild.skew.ms = HOUR_MS;
    await t.rejects(wild.kv.bucket('b').put('k', bytes('wild')), {
      code: 'ERR_KV_UNKNOWN_OUTCOME',
    });
    for (const { kv } of [wild, other, third])
      t.match(await kv.bucket('b').get('k'), { version: before });
    const after = await third.kv.bucket('b').put('k', bytes('after'));
    wild.skew.ms = 0;
    for (const { kv } of [wild, other, third])
      t.match(await kv.bucket('b').get('k'), { version: after });
  }));

test('clocks set back lock nobody out and lose nothing', (t) =>
  threeNodes(t, async (nodes) => {
    const [first] = nodes;
    const before = await first.kv.bucket('b').put('k', bytes('before'), { consistency: 'all' });
    for (const { skew } of nodes) skew.ms = -HOUR_MS;
    t.match(await first.kv.bucket('b').get('k'), { version: before });
    const after = await first.kv.bucket('b').put('k', bytes('after'));
    t.ok(after > before);
    t.match(await nodes[1].kv.bucket('b').get('k'), { version: after });
  }));
