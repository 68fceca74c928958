import { test } from 'tap';
import type { KeyValue } from '../../ring/index.ts';
import { type AppRecord, Catalog } from './catalog.ts';
import { revisionText } from './revision.ts';

/** One bucket in memory, as a quorum sees it. */
function memoryKeyValue(): KeyValue {
  const rows = new Map<string, Uint8Array>();
  return {
    createBucket: async () => {},
    bucket: () => ({
      get: async (key: string) => {
        const value = rows.get(key);
        return value === undefined ? undefined : { value, version: '1' };
      },
      put: async (key: string, value: Uint8Array) => {
        rows.set(key, value);
        return '1';
      },
      async *list({ prefix = '' } = {}) {
        for (const key of [...rows.keys()].toSorted()) {
          if (key.startsWith(prefix)) yield { key, version: '1' };
        }
      },
    }),
  } as unknown as KeyValue;
}

function record(generation: number, claimant = 'na', name = 'shop'): AppRecord {
  const revision = { generation, claimant };
  return {
    ...revision,
    app: { name } as AppRecord['app'],
    components: {},
    content: '',
    workflow: `deploy:${name}:${revisionText(revision)}`,
    state: 'claimed',
  };
}

test('the current revision is the highest published one (V2)', async (t) => {
  const catalog = new Catalog(memoryKeyValue());
  t.equal((await catalog.current()).size, 0);
  await catalog.publish(record(2));
  await catalog.publish(record(1));
  await catalog.claim(record(3));
  await catalog.publish(record(7, 'na', 'other'));
  t.equal((await catalog.current()).get('shop')?.generation, 2, 'a claim is not current');
  t.equal((await catalog.current()).get('other')?.generation, 7);
  t.same(
    (await catalog.revisions('shop')).map(({ generation, state }) => [generation, state]),
    [
      [3, 'claimed'],
      [2, 'published'],
      [1, 'published'],
    ],
  );
});

test('a claim below another one is refused, and repeating one is not', async (t) => {
  const catalog = new Catalog(memoryKeyValue());
  await catalog.claim(record(2));
  await catalog.claim(record(2));
  await t.rejects(catalog.claim(record(1)), { code: 'ERR_DEPLOY_SUPERSEDED' });
});

test('of two claims to one generation the lower claimant gives way', async (t) => {
  const catalog = new Catalog(memoryKeyValue());
  await catalog.claim(record(2, 'nb'));
  await t.rejects(catalog.claim(record(2, 'na')), { code: 'ERR_DEPLOY_SUPERSEDED' });
  await catalog.claim(record(2, 'nc'));
  await catalog.publish(record(2, 'nb'));
  await catalog.publish(record(2, 'nc'));
  t.equal((await catalog.current()).get('shop')?.claimant, 'nc');
});
