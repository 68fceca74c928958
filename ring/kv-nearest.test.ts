/** Which owners a read asks: no more than it needs, and those that answer soonest. */
import { test } from 'tap';
import { seededRandom } from '../spec/random.ts';
import type { EpochMember } from './core/epoch.ts';
import { epochOf } from './epoch.testkit.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { Disk, MemoryReplicaStore, Network, VirtualClock } from './kv-network.testkit.ts';
import { KeyValueStore } from './kv.ts';
import type { Rpc } from './rpc.ts';

test('a read asks the nearest owners that seem up', async (t) => {
  const members: EpochMember[] = [];
  for (const id of ['n1', 'n2', 'n3']) {
    const tokens = allocateTokens(members, { weight: 1 });
    members.push({ id, name: id, address: '', roles: [], weight: 1, tokens });
  }
  const epoch = epochOf(members);
  const time = new VirtualClock();
  const network = new Network(time, seededRandom(1));
  const distances = new Map<string, number>();
  const dead = new Set<string>();
  let asked: string[] = [];
  const stores = members.map(({ id }) => {
    const clock = time.of({ ms: 0 });
    const rpc = network.up(id);
    const call: Rpc['call'] = (node, method, ...rest) => {
      if (method === 'kv.read') asked.push(node);
      return rpc.call(node, method, ...rest);
    };
    const kv = new KeyValueStore({
      rpc: { self: id, call, serve: (...handler) => rpc.serve(...handler) },
      store: new MemoryReplicaStore(new Disk(), clock, () => 0),
      clock,
      epoch: () => epoch,
      learn: async () => {},
      isAlive: (node) => !dead.has(node),
      rttMs: (node) => distances.get(node),
      hedgeMs: 1_000,
    });
    t.teardown(() => kv.close());
    return kv;
  });
  const [kv] = stores as [KeyValueStore];
  const askedBy = async (): Promise<string[]> => {
    asked = [];
    await kv.bucket('b').get('k');
    return asked;
  };
  const story = async (): Promise<void> => {
    await kv.createBucket('b', { class: 'eventual' });
    await kv.bucket('b').put('k', new Uint8Array(3), { consistency: 'all' });
    distances.set('n2', 20).set('n3', 5);
    t.strictSame(await askedBy(), ['n1', 'n3'], 'itself, and the nearer of the others');
    distances.set('n2', 2);
    t.strictSame(await askedBy(), ['n1', 'n2']);
    distances.delete('n2');
    t.strictSame(await askedBy(), ['n1', 'n3'], 'it is known how far that one is');
    dead.add('n3');
    t.strictSame(await askedBy(), ['n1', 'n2'], 'near and dead is far');
  };
  await time.run(story());
});
