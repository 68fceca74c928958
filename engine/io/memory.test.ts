import { test } from 'tap';
import { storeTestSuite } from '../store.testsuite.ts';
import { MemoryStore } from './memory.ts';

test('MemoryStore', (t) => {
  storeTestSuite(t, {
    create: async () => {
      const store = new MemoryStore();
      await store.open();
      return store;
    },
    reopen: async (store) => {
      await store.open();
      return store;
    },
  });
});
