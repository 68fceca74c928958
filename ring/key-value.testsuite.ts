/** What every key-value store of a lattice does, whatever it keeps its rows in. */
import type { Test } from 'tap';
import { AetherError } from '../spec/error.ts';
import type { Consistency, KeyValueStore } from './kv.ts';

/** A lattice of nodes under test. */
export interface Subject {
  nodes: KeyValueStore[];
  /** Ends a node without a word; its rows stay. */
  crash(node: number): void;
  restart(node: number): void;
  /** Turns bits in what a node keeps of a key. */
  damage(node: number, bucket: string, key: string): void;
  /** What a node has on disk of a key. */
  held(node: number, bucket: string, key: string): string | undefined;
  /** Waits, in the subject's time, until it holds. */
  until(holds: () => boolean): Promise<void>;
}

/** @param open makes a lattice of so many nodes in one settled epoch; torn down by the test. */
export function testKeyValue(
  group: Test,
  open: (t: Test, nodes: number) => Promise<Subject>,
): void {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const text = (found: { value: Uint8Array } | undefined): string | undefined =>
    found && new TextDecoder().decode(found.value);
  const node = (subject: Subject, index: number): KeyValueStore =>
    subject.nodes[index] as KeyValueStore;
  const refused = (code: string): { code: string } => ({ code });

  void group.test('what one node puts, every node gets', async (t) => {
    const subject = await open(t, 4);
    t.strictSame(await node(subject, 0).createBucket('b', { class: 'eventual' }), {
      created: true,
    });
    t.strictSame(await node(subject, 1).createBucket('b', { class: 'eventual' }), {
      created: false,
    });
    const first = await node(subject, 0).bucket('b').put('k', bytes('one'));
    const second = await node(subject, 1).bucket('b').put('k', bytes('two'));
    t.ok(second > first, 'versions grow');
    for (const each of subject.nodes) {
      t.match(await each.bucket('b').get('k'), { version: second });
      t.equal(text(await each.bucket('b').get('k')), 'two');
      t.equal(await each.bucket('b').get('other'), undefined);
    }
    await node(subject, 2).bucket('b').delete('k');
    t.equal(await node(subject, 3).bucket('b').get('k'), undefined);
    const third = await node(subject, 3).bucket('b').put('k', bytes('three'));
    t.ok(third > second, 'also across a delete');
  });

  void group.test('every level reads what the same level wrote', async (t) => {
    const subject = await open(t, 3);
    await node(subject, 0).createBucket('b', { class: 'eventual' });
    for (const consistency of ['quorum', 'local-quorum', 'all'] as Consistency[]) {
      await node(subject, 0).bucket('b').put('k', bytes(consistency), { consistency });
      t.equal(text(await node(subject, 1).bucket('b').get('k', { consistency })), consistency);
    }
    await node(subject, 0).bucket('b').put('k', bytes('x'), { consistency: 'one' });
    t.type(await node(subject, 0).bucket('b').get('k', { consistency: 'one' }), Object);
  });

  void group.test('keys and values keep their form', async (t) => {
    const subject = await open(t, 3);
    await node(subject, 0).createBucket('b', { class: 'eventual' });
    const bucket = node(subject, 0).bucket('b');
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const key of ['a/b', '%', 'ünïcode', '\u{1F300}', ' ', '__proto__', 'x'.repeat(1024)]) {
      await bucket.put(key, all);
      t.strictSame(
        [...((await bucket.get(key))?.value ?? [])],
        [...all],
        JSON.stringify(key.slice(0, 9)),
      );
    }
    const empty = await bucket.put('empty', new Uint8Array());
    t.match(await bucket.get('empty'), { version: empty });
    for (const key of ['', 'a\0b', '\ud800', 'x'.repeat(1025), 'ü'.repeat(513)])
      await t.rejects(bucket.put(key, all), refused('ERR_KV_KEY_INVALID'));
    const large = new Uint8Array(1024 * 1024 - 4096).fill(7);
    await bucket.put('large', large);
    t.equal((await node(subject, 1).bucket('b').get('large'))?.value.length, large.length);
    await t.rejects(
      bucket.put('large', new Uint8Array(large.length + 1)),
      refused('ERR_KV_VALUE_TOO_LARGE'),
    );
  });

  void group.test('a list has each live key once, by code point', async (t) => {
    const subject = await open(t, 4);
    await node(subject, 0).createBucket('b', { class: 'eventual' });
    const bucket = node(subject, 0).bucket('b');
    const keys = Array.from({ length: 700 }, (_, i) => `k${String(i).padStart(4, '0')}`);
    await Promise.all(
      [...keys, 'a', '\uffee', '\u{1F300}'].map((key) => bucket.put(key, bytes(key))),
    );
    await Promise.all(['k0003', 'k0699'].map((key) => bucket.delete(key)));
    const left = keys.filter((key) => key !== 'k0003' && key !== 'k0699');
    const listed = async (options?: Parameters<typeof bucket.list>[0]): Promise<string[]> => {
      const found: string[] = [];
      for await (const { key } of node(subject, 1).bucket('b').list(options)) found.push(key);
      return found;
    };
    t.strictSame(await listed(), ['a', ...left, '\uffee', '\u{1F300}']);
    t.strictSame(await listed({ prefix: 'k' }), left);
    t.strictSame(await listed({ prefix: 'k', after: 'k0002', limit: 2 }), ['k0004', 'k0005']);
    t.strictSame(await listed({ after: '\uffee' }), ['\u{1F300}']);
    t.strictSame(await listed({ prefix: 'z' }), []);
    t.strictSame(await listed({ limit: 0 }), []);
    subject.crash(2);
    t.equal((await listed()).length, left.length + 3, 'a quorum of every range is enough');
    subject.crash(3);
    await t.rejects(listed(), refused('ERR_KV_UNAVAILABLE'), 'less is not');
  });

  void group.test('one of three may be down; what it missed comes back by reading', async (t) => {
    const subject = await open(t, 3);
    await node(subject, 0).createBucket('b', { class: 'eventual' });
    const bucket = node(subject, 0).bucket('b');
    await bucket.put('k', bytes('old'), { consistency: 'all' });
    subject.crash(2);
    const version = await bucket.put('k', bytes('new'));
    await t.rejects(
      bucket.put('k', bytes('x'), { consistency: 'all' }),
      refused('ERR_KV_UNKNOWN_OUTCOME'),
    );
    await t.rejects(bucket.get('k', { consistency: 'all' }), refused('ERR_KV_UNAVAILABLE'));
    subject.restart(2);
    const seen = await node(subject, 2).bucket('b').get('k', { consistency: 'all' });
    t.ok((seen?.version ?? '') >= version);
    await subject.until(() => subject.held(2, 'b', 'k') === seen?.version);
    t.pass('the replica is repaired');
  });

  void group.test('two of three down: nothing is acknowledged', async (t) => {
    const subject = await open(t, 3);
    await node(subject, 0).createBucket('b', { class: 'eventual' });
    await node(subject, 0).bucket('b').put('k', bytes('v'));
    subject.crash(1);
    subject.crash(2);
    const bucket = node(subject, 0).bucket('b');
    await t.rejects(bucket.get('k'), refused('ERR_KV_UNAVAILABLE'));
    await t.rejects(bucket.put('k', bytes('x')), refused('ERR_KV_UNKNOWN_OUTCOME'));
    t.ok(await bucket.get('k', { consistency: 'one' }));
    subject.restart(1);
    t.ok(await bucket.get('k'), 'and then served again');
  });

  void group.test('a damaged row is neither shown nor a vote, and is repaired', async (t) => {
    const subject = await open(t, 3);
    await node(subject, 0).createBucket('b', { class: 'eventual' });
    const bucket = node(subject, 0).bucket('b');
    const version = await bucket.put('k', bytes('v'), { consistency: 'all' });
    subject.damage(0, 'b', 'k');
    t.equal(text(await bucket.get('k')), 'v');
    await subject.until(() => subject.held(0, 'b', 'k') === version);
    subject.damage(0, 'b', 'k');
    subject.crash(1);
    await t.rejects(bucket.get('k'), refused('ERR_KV_UNAVAILABLE'), 'one sound owner is no quorum');
    subject.restart(1);
    const listed: string[] = [];
    for await (const { key } of bucket.list()) listed.push(key);
    t.strictSame(listed, ['k']);
    subject.damage(0, 'b', 'k');
    await bucket.put('k', bytes('w'), { consistency: 'all' });
    t.equal(text(await bucket.get('k', { consistency: 'one' })), 'w');
  });

  void group.test('a lifetime counts from the version', async (t) => {
    const subject = await open(t, 3);
    await node(subject, 0).createBucket('b', { class: 'eventual', ttl: '1h' });
    const bucket = node(subject, 0).bucket('b');
    await bucket.put('long', bytes('v'));
    await bucket.put('short', bytes('v'), { ttl: 0 });
    t.ok(await bucket.get('long'));
    t.equal(await bucket.get('short'), undefined);
    const listed: string[] = [];
    for await (const { key } of bucket.list()) listed.push(key);
    t.strictSame(listed, ['long']);
  });

  void group.test('buckets have to be made, and stay what they are', async (t) => {
    const subject = await open(t, 2);
    const kv = node(subject, 0);
    await t.rejects(kv.bucket('none').get('k'), refused('ERR_KV_BUCKET_UNKNOWN'));
    await t.rejects(kv.bucket('$buckets').get('k'), refused('ERR_KV_BUCKET_UNKNOWN'));
    for (const name of ['', '$buckets', 'a b', '-a', 'a'.repeat(129)])
      await t.rejects(kv.createBucket(name, { class: 'eventual' }), refused('ERR_KV_BUCKET_NAME'));
    for (const replicas of [0, 8, 1.5])
      await t.rejects(
        kv.createBucket('b', { class: 'eventual', replicas }),
        refused('ERR_KV_REPLICAS'),
      );
    await t.rejects(
      kv.createBucket('b', { class: 'odd' as 'strong' }),
      refused('ERR_KV_BUCKET_CLASS'),
    );
    await kv.createBucket('b', { class: 'eventual', replicas: 7 });
    await t.rejects(
      node(subject, 1).createBucket('b', { class: 'eventual', replicas: 2 }),
      refused('ERR_KV_BUCKET_EXISTS'),
    );
    await kv.bucket('b').put('k', bytes('v'), { consistency: 'all' });
    t.equal((await kv.owners('b', 'k')).length, 2, 'as many replicas as there are nodes');
  });

  void group.test('what is not there yet says so', async (t) => {
    const subject = await open(t, 1);
    const kv = node(subject, 0);
    await kv.createBucket('b', { class: 'eventual' });
    const bucket = kv.bucket('b');
    const attempts: [string, () => unknown][] = [
      ['strong', () => kv.createBucket('s', { class: 'strong' })],
      ['quota', () => kv.createBucket('q', { class: 'eventual', quotaBytes: 1 })],
      ['lock', () => kv.lock()],
      ['expect', () => bucket.put('k', bytes('v'), { expect: null })],
      ['request id', () => bucket.delete('k', { requestId: 'x' })],
      ['increment', () => bucket.increment('k', 1n)],
      ['batch', () => bucket.batch([])],
      ['watch', () => bucket.watch()],
    ];
    for (const [name, attempt] of attempts) {
      let code: string | undefined;
      try {
        await attempt();
      } catch (error) {
        code = AetherError.is(error) ? error.code : undefined;
      }
      t.equal(code, 'ERR_NOT_AVAILABLE', name);
    }
  });

  void group.test('blobs are found by their digest, whole or not at all', async (t) => {
    const subject = await open(t, 3);
    const { blobs } = node(subject, 0);
    const content = Uint8Array.from({ length: 700_000 }, (_, i) => (i * 31) >>> 3);
    const digest = await blobs.put(content);
    t.match(digest, /^sha256:[0-9a-f]{64}$/);
    t.equal(await blobs.put(content), digest);
    const found = await node(subject, 2).blobs.get(digest);
    t.ok(Buffer.from(content).equals(found ?? new Uint8Array()));
    t.equal(await blobs.has(digest), true);
    const absent = `sha256:${'0'.repeat(64)}`;
    t.equal(await blobs.has(absent), false);
    t.equal(await blobs.get(absent), undefined);
    await t.rejects(blobs.get('sha256:../x'), refused('ERR_BLOB_DIGEST'));
    t.equal((await blobs.get(await blobs.put(new Uint8Array())))?.length, 0);
    subject.crash(1);
    t.equal((await blobs.get(digest))?.length, content.length, 'also with a node down');
    for (const index of [0, 2]) subject.damage(index, '$blobs', `${digest}/1`);
    await t.rejects(blobs.get(digest), refused('ERR_KV_UNAVAILABLE'));
  });
}
