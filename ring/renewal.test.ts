/** Certificates on real nodes: renewed in time, run out, with wrong clocks, and in the hands of others. */
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { Clock } from '../spec/clock.ts';
import { type Log, silentLog } from '../spec/log.ts';
import { systemClock } from '../spec/system-clock.ts';
import { decodeNodeCertificate } from './core/node-certificate.ts';
import { mintJoinToken, type Ring, type RingOptions } from './index.ts';
import { openKeyFile, readKeyFile } from './io/keys.ts';
import { areWhole, CALL, echoes, impostor, kept, opener, until } from './lattice.testkit.ts';

const LIFE_MS = 60_000;
/** With what clocks may differ by. */
const END_MS = LIFE_MS + 31_000;

/** The time of day as the test says; all else is the machine's. */
class WallClock implements Clock {
  #aheadMs = 0;
  readonly #sleepers = new Set<{ epochMs: number; wake: () => void }>();

  nowMs(): number {
    return Date.now() + this.#aheadMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs();
  }

  after(delayMs: number, wake: () => void): () => void {
    return systemClock.after(delayMs, wake);
  }

  until(epochMs: number, wake: () => void): () => void {
    const sleeper = { epochMs, wake };
    this.#sleepers.add(sleeper);
    return () => this.#sleepers.delete(sleeper);
  }

  jump(ms: number): void {
    this.#aheadMs += ms;
    for (const sleeper of this.#sleepers) {
      if (sleeper.epochMs > this.nowMs()) continue;
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
  }
}

function shortLived(t: Test): (name: string, options?: Partial<RingOptions>) => Promise<Ring> {
  const open = opener(t);
  return (name, options) => open(name, { certificateLifeMs: LIFE_MS, ...options });
}

/** A log, and whether it was warned that the clock of a node is ahead. */
function warnings(): { isToldAhead: (of: Ring) => boolean; log: Log } {
  const heard: string[] = [];
  return {
    isToldAhead: ({ id }) =>
      heard.some((text) => / is \d+ s ahead of /.test(text) && text.includes(id)),
    log: { ...silentLog, warn: (_: object, text: string) => heard.push(text) },
  };
}

const expiryOf = (ring: Ring): number => ring.certificate()?.expiresSeconds ?? 0;

test(
  'certificates are renewed while links are open, without a gap',
  { timeout: 60_000 },
  async (t) => {
    const open = shortLived(t);
    const clock = new WallClock();
    const a = await open('a', { clock });
    const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
    const b = await open('b', { clock, join: [a.address], token });
    const c = await open('c', { clock, join: [b.address], token });
    const rings = [a, b, c];
    await until(() => areWhole(...rings));
    await echoes(...rings);
    const dead: string[] = [];
    for (const ring of rings)
      ring.onChange((change) => {
        if (change.kind === 'member' && change.member.state === 'dead')
          dead.push(change.member.name);
      });
    const asGuests = (): number[] => rings.map((ring) => ring.transport().received.guest);
    const before = asGuests();
    // What the links began with runs out on the way.
    for (let thirds = 2; thirds <= 8; thirds += 2) {
      const expiries = rings.map(expiryOf);
      clock.jump((LIFE_MS * 2) / 3 + 1_000);
      await until(() => rings.every((ring, i) => expiryOf(ring) > (expiries[i] as number)));
      await until(() => rings.every((ring) => ring.certificate()?.heard === true));
      await echoes(...rings);
    }
    t.strictSame(asGuests(), before, 'all were members to each other all the time');
    t.strictSame(dead, []);
    const epochs = a.members().map(({ certificateEpoch }) => certificateEpoch);
    t.ok(epochs.every((epoch) => epoch !== undefined && epoch >= 2 && epoch <= a.epoch().number));
  },
);

test(
  'a lattice whose certificates have all run out comes back by itself',
  { timeout: 60_000 },
  async (t) => {
    const open = shortLived(t);
    const clock = new WallClock();
    const founder = await open('a', { clock });
    const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
    // The founder is the only issuer.
    const at = { clock, join: [founder.address], token, roles: ['compute'] };
    const others = [await open('b', at), await open('c', at)];
    await until(() => areWhole(founder, ...others));
    for (const ring of [founder, ...others]) await ring.close();
    clock.jump(3 * 86_400_000);
    // Those first who cannot help themselves.
    const [b, c] = await Promise.all(['b', 'c'].map((name) => open(name, { clock })));
    await t.rejects((b as Ring).rpc.call((c as Ring).id, 'echo', 1, CALL), {
      code: 'ERR_RING_CERTIFICATE_EXPIRED',
    });
    const a = await open('a', { clock });
    const rings = [a, b as Ring, c as Ring];
    await until(() => areWhole(...rings));
    await echoes(...rings);
    for (const ring of rings) t.ok(expiryOf(ring) * 1_000 > clock.nowMs(), ring.name);
  },
);

test(
  'a node whose clock is wrong hears of it, and is back once it is right',
  { timeout: 60_000 },
  async (t) => {
    const open = shortLived(t);
    const own = new WallClock();
    const { isToldAhead, log } = warnings();
    const a = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'), { uses: 2 });
    // One that keeps data would come to vote, and sign for itself.
    const at = { clock: own, log, join: [a.address], token, roles: ['compute'] };
    const b = await open('b', at);
    await until(() => areWhole(a, b));
    own.jump(END_MS);
    await until(() => isToldAhead(b));
    await t.rejects(b.rpc.call(a.id, 'echo', 1, CALL), { code: 'ERR_RING_CERTIFICATE_EXPIRED' });
    t.match(b.certificate(), { isOverdue: true, failure: { code: 'ERR_RING_CLOCK' } });
    own.jump(-END_MS);
    await until(() => areWhole(a, b));
    await echoes(a, b);
    t.match(b.certificate(), { isOverdue: false, failure: undefined });

    const late = new WallClock();
    late.jump(-86_400_000);
    await t.rejects(open('c', { clock: late, join: [a.address], token }), {
      code: 'ERR_RING_CLOCK',
      message: / is \d+ s behind /,
    });
  },
);

test(
  'an issuer whose clock is wrong signs for itself, and hears of it all the same',
  { timeout: 60_000 },
  async (t) => {
    const open = shortLived(t);
    const own = new WallClock();
    const { isToldAhead, log } = warnings();
    const a = await open('a');
    const token = mintJoinToken(join(t.testdirName, 'a'));
    const b = await open('b', { clock: own, log, join: [a.address], token });
    const issuers = (ring: Ring): number => ring.epoch().issuers.length;
    await until(() => areWhole(a, b) && issuers(a) === 2 && issuers(b) === 2);
    own.jump(END_MS);
    await until(() => isToldAhead(b));
    t.match(b.certificate(), {
      issuer: b.id,
      isOverdue: false,
      failure: { code: 'ERR_RING_CLOCK' },
    });
    own.jump(-END_MS);
    await until(() => b.certificate()?.failure === undefined && areWhole(a, b));
    await echoes(a, b);
  },
);

test(
  'whose certificate has run out may renew it, and nothing else',
  { timeout: 60_000 },
  async (t) => {
    const open = shortLived(t);
    const clock = new WallClock();
    const a = await open('a', { clock });
    const token = mintJoinToken(join(t.testdirName, 'a'));
    const b = await open('b', { clock, join: [a.address], token });
    await until(() => areWhole(a, b));
    await b.close();
    const key = readKeyFile(join(t.testdirName, 'b', 'node.key'));
    const shown = kept(t, 'b');

    const member = impostor(t, key, a.lattice, shown);
    member.setAddress(a.id, a.address);
    t.equal(await member.call(a.id, 'echo', 1, CALL), 1, 'while it holds');
    clock.jump(END_MS);
    const expired = { code: 'ERR_RING_CERTIFICATE_EXPIRED' };
    for (const method of ['echo', 'kv.read', 'join.relay', 'ring.leave', 'epoch.done'])
      await t.rejects(member.call(a.id, method, 1, CALL), expired, `${method}, on the open link`);
    t.equal(a.transport().open.guests, 1);
    const renewed = await member.call(a.id, 'certificate.renew', { nowMs: clock.nowMs() }, CALL);
    t.ok(decodeNodeCertificate(renewed).expiresSeconds * 1_000 > clock.nowMs());
    await t.rejects(member.call(a.id, 'echo', 1, CALL), expired, 'it has not shown it');
    await member.call(a.id, 'certificate.show', renewed, CALL);
    t.equal(await member.call(a.id, 'echo', 1, CALL), 1);
    await t.rejects(member.call(a.id, 'certificate.renew', null, CALL), {
      code: 'ERR_RING_CERTIFICATE_MALFORMED',
    });
    await member.close();

    const bare = impostor(t, key, a.lattice);
    bare.setAddress(a.id, a.address);
    await t.rejects(bare.call(a.id, 'echo', 1, CALL), { code: 'ERR_RING_CERTIFICATE_NONE' });
    await bare.close();
    const stale = impostor(t, key, a.lattice, shown);
    stale.setAddress(a.id, a.address);
    await t.rejects(stale.call(a.id, 'echo', 1, CALL), expired, 'on a new link');
    t.ok(await stale.call(a.id, 'epoch.get', null, CALL));
  },
);

test('a certificate in other hands opens nothing', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  const a = await open('a');
  const token = mintJoinToken(join(t.testdirName, 'a'), { roles: ['compute'] });
  const b = await open('b', { join: [a.address], token });
  await until(() => areWhole(a, b));
  const stranger = openKeyFile(join(t.testdirName, 'stranger.key'));
  const refusedAt = async (certificate: Uint8Array): Promise<string> => {
    const peers = impostor(t, stranger, a.lattice, certificate);
    try {
      await peers.callAddress(a.address, 'epoch.get', null, CALL);
      return 'heard';
    } catch (error) {
      return (error as { code: string }).code;
    } finally {
      await peers.close();
    }
  };
  t.equal(await refusedAt(kept(t, 'b')), 'ERR_RING_CERTIFICATE_OTHER_NODE');
  t.equal(await refusedAt(new Uint8Array([1, 2, 3])), 'ERR_RING_CERTIFICATE_MALFORMED');
  const peers = impostor(t, stranger, a.lattice);
  peers.setAddress(a.id, a.address);
  await t.rejects(peers.call(a.id, 'certificate.renew', { nowMs: Date.now() }, CALL), {
    code: 'ERR_RING_NOT_MEMBER',
  });
  await t.rejects(a.rpc.call(b.id, 'certificate.renew', { nowMs: Date.now() }, CALL), {
    code: 'ERR_RING_NOT_ISSUER',
  });
  await t.rejects(a.rpc.call(b.id, 'certificate.show', kept(t, 'b'), CALL), {
    code: 'ERR_RING_CERTIFICATE_OTHER_NODE',
  });
  await echoes(a, b);
});

test('the life of certificates has a range', { timeout: 60_000 }, async (t) => {
  const open = opener(t);
  for (const certificateLifeMs of [59_999, 7 * 86_400_000 + 1, Number.NaN])
    await t.rejects(open('a', { certificateLifeMs }), { code: 'ERR_RING_OPTION' });
});
