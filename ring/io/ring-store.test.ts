import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
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
