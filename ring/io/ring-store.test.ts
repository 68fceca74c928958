import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { type Test, test } from 'tap';
import { equal } from '../core/canonical.ts';
import { encode } from '../core/codec.ts';
import { epochOf, idOf, LATTICE, signedEpoch } from '../epoch.testkit.ts';
import { RingStore } from './ring-store.ts';

function stores(t: Test): { store: RingStore; onDisk: () => RingStore } {
  const path = join(t.testdir(), 'ring.db');
  const open = (): RingStore => {
    const store = new RingStore(path);
    t.teardown(() => store.close());
    return store;
  };
  return { store: open(), onDisk: open };
}

const ADDRESSES = [
  { id: 'a', address: 'a:1' },
  { id: 'b', address: 'b:1' },
];

test('where peers are is on disk with the next durable write', (t) => {
  const { store, onDisk } = stores(t);
  store.setAddresses(ADDRESSES);
  store.setSwimAddress('a', 'a:2');
  t.equal(store.addresses().get('b'), 'b:1', 'known here at once');
  t.equal(onDisk().addresses().size, 0, 'a hint waits for no disk');
  store.setIncarnation(7);
  const later = onDisk();
  t.same(Object.fromEntries(later.addresses()), { a: 'a:1', b: 'b:1' });
  t.same(Object.fromEntries(later.swimAddresses()), { a: 'a:2' });
  t.equal(later.incarnation(), 7);
  t.end();
});

test('and without one a little later', async (t) => {
  const { store, onDisk } = stores(t);
  store.setAddresses(ADDRESSES);
  while (onDisk().addresses().size < 2) await pause(20);
  t.equal(onDisk().addresses().get('a'), 'a:1');
});

test('where the node itself listens is a hint too, its certificate, and that it has served', (t) => {
  const { store, onDisk } = stores(t);
  store.setPort(1);
  store.setSwimPort(2);
  store.setNodeCertificate(new Uint8Array([3]));
  store.setServed();
  const view = (of: RingStore): unknown[] => [
    of.port(),
    of.swimPort(),
    of.nodeCertificate()?.[0],
    of.hasServed(),
  ];
  t.same(view(store), [1, 2, 3, true], 'known here at once');
  t.same(view(onDisk()), [undefined, undefined, undefined, false]);
  store.setIncarnation(1);
  t.same(view(onDisk()), [1, 2, 3, true]);
  t.end();
});

test('an epoch and its lattice are on disk at once', (t) => {
  const { store, onDisk } = stores(t);
  const facts = { name: 'a', address: 'a:1', roles: [], weight: 0, tokens: [] };
  const signed = signedEpoch(epochOf([{ id: idOf('a'), ...facts }]));
  store.setEpoch(signed, LATTICE);
  t.ok(equal(encode(onDisk().epoch()), encode(signed)));
  t.equal(onDisk().lattice(), LATTICE);
  t.end();
});

test('a fact that could not be written is none, and hints go on waiting', (t) => {
  const { store, onDisk } = stores(t);
  const disk = new Database(join(t.testdirName, 'ring.db'));
  t.teardown(() => disk.close());
  disk.exec(`CREATE TRIGGER full BEFORE INSERT ON fact BEGIN SELECT raise(ABORT, 'full'); END`);
  store.setAddresses(ADDRESSES);
  t.throws(() => store.setIncarnation(7), { message: 'full' });
  t.equal(store.incarnation(), 0);
  disk.exec('DROP TRIGGER full');
  store.setOrigin('joined');
  const later = onDisk();
  t.equal(later.incarnation(), 0);
  t.equal(later.addresses().size, 2);
  t.end();
});

test('a store that closes keeps what it knew, and the newest of it', (t) => {
  const path = join(t.testdir(), 'ring.db');
  const store = new RingStore(path);
  store.setSwimAddress('a', 'a:2');
  store.setSwimAddress('a', 'a:3');
  store.close();
  const later = new RingStore(path);
  t.equal(later.swimAddresses().get('a'), 'a:3');
  later.close();
  t.end();
});
