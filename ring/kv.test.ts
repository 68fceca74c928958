import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type Test, test } from 'tap';
import { seededRandom } from '../spec/random.ts';
import { systemClock } from '../spec/system-clock.ts';
import type { Epoch, EpochMember } from './core/epoch.ts';
import { epochOf } from './epoch.testkit.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { SqliteReplicaStore } from './io/kv-sqlite.ts';
import { type Subject, testKeyValue } from './key-value.testsuite.ts';
import { Disk, MemoryReplicaStore, Network } from './kv-network.testkit.ts';
import type { ReplicaStore } from './kv-store.ts';
import { KeyValueStore } from './kv.ts';

/** What stays of a node while it is down. */
interface Medium {
  open(): ReplicaStore & { crash?(): void };
  damage(bucket: string, key: string): void;
}

interface Running {
  kv: KeyValueStore;
  store: ReturnType<Medium['open']>;
}

function settledEpoch(count: number): Epoch {
  const members: EpochMember[] = [];
  for (let i = 0; i < count; i++) {
    const tokens = allocateTokens(members, { weight: 1 });
    members.push({ id: `n${i}`, name: `n${i}`, address: '', roles: [], weight: 1, tokens });
  }
  return epochOf(members);
}

function lattice(t: Test, count: number, media: (id: string) => Medium): Subject {
  const epoch = settledEpoch(count);
  const network = new Network(systemClock, seededRandom(1));
  const nodes = epoch.members.map(({ id }) => {
    const medium = media(id);
    const start = (): Running => {
      const store = medium.open();
      const kv = new KeyValueStore({
        rpc: network.up(id),
        store,
        clock: systemClock,
        epoch: () => epoch,
        learn: async () => {},
        timeoutMs: 30_000,
      });
      return { kv, store };
    };
    return Object.assign(start(), { id, medium, start });
  });
  t.teardown(() => {
    network.close();
    for (const { kv } of nodes) kv.close();
  });
  const at = (index: number): (typeof nodes)[number] => nodes[index] as (typeof nodes)[number];
  const subject: Subject = {
    nodes: nodes.map(({ kv }) => kv),
    crash(index) {
      network.down(at(index).id);
      at(index).store.crash?.();
      at(index).store.close();
    },
    restart(index) {
      Object.assign(at(index), at(index).start());
      subject.nodes[index] = at(index).kv;
    },
    damage: (index, bucket, key) => at(index).medium.damage(bucket, key),
    held(index, bucket, key) {
      const found = at(index).store.read(bucket, key);
      return typeof found === 'string' ? undefined : found.stamp;
    },
    async until(holds) {
      while (!holds()) await new Promise(setImmediate);
    },
  };
  return subject;
}

test('rows in memory', (group) => {
  testKeyValue(group, async (t, count) =>
    lattice(t, count, () => {
      const disk = new Disk();
      return {
        open: () => new MemoryReplicaStore(disk, systemClock, () => 1),
        damage: (bucket, key) => void disk.damaged.add(`${bucket}\0${key}`),
      };
    }),
  );
  group.end();
});

test('rows in SQLite', (group) => {
  testKeyValue(group, async (t, count) => {
    const folder = mkdtempSync(join(tmpdir(), 'aether-kv-'));
    const subject = lattice(t, count, (id) => {
      const path = join(folder, `${id}.db`);
      return {
        open: () => new SqliteReplicaStore(path),
        damage(bucket, key) {
          const database = new Database(path);
          const turned = database
            .prepare(
              `UPDATE row SET value = CAST(value || x'00' AS BLOB) WHERE bucket = ? AND key = ?`,
            )
            .run(bucket, key);
          database.close();
          t.equal(turned.changes, 1);
        },
      };
    });
    t.teardown(() => rmSync(folder, { recursive: true }));
    return subject;
  });
  group.end();
});
