import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { nodeId } from '../spec/id.ts';
import { silentLog } from '../spec/log.ts';
import { systemClock } from '../spec/system-clock.ts';
import { systemRandom } from '../spec/system-random.ts';
import type { AcceptorStore } from './acceptor-store.ts';
import { decode, encode } from './core/codec.ts';
import { firstConfiguration } from './core/configuration.ts';
import { type RegisterOutcome } from './core/epoch-register.ts';
import { isCertified, type RegisterCertificate } from './core/register-certificate.ts';
import { SqliteAcceptorStore } from './io/acceptor-sqlite.ts';
import { keyFromSeed, type SigningKey } from './io/keys.ts';
import { foundRegister, RegisterNode } from './register.ts';
import { firstValue } from './core/register-value.ts';

const GROUP = 'epoch';
const TIMEOUT_MS = 30_000;

interface Member {
  id: string;
  key: SigningKey;
  path: string;
  node: RegisterNode<string>;
  store: AcceptorStore;
  /** The newest certificate that it has seen. */
  certificate: RegisterCertificate<string> | undefined;
}

/** Nodes in one process: what they say goes through bytes, as on a wire. */
class Hall {
  readonly members = new Map<string, Member>();
  readonly away = new Set<string>();
  /** Names of those whose proposals count; none: everybody's. */
  proposers: readonly string[] | undefined;
  readonly #handlers = new Map<string, (body: unknown, from: string) => void>();
  readonly #folder: string;
  readonly #founder: string;

  constructor(t: Test) {
    this.#folder = mkdtempSync(join(tmpdir(), 'aether-register-'));
    this.#founder = idOf('a');
    t.teardown(async () => {
      for (const member of this.members.values()) await stop(member);
      rmSync(this.#folder, { recursive: true });
    });
  }

  open(name: string, { isVouched = false, wrap = (store: AcceptorStore) => store } = {}): Member {
    const key = keyOf(name);
    const id = idOf(name);
    const path = join(this.#folder, `${name}.db`);
    const store = wrap(new SqliteAcceptorStore(path));
    const before = this.members.get(id)?.certificate;
    const founding = {
      index: 1,
      ballot: { counter: 0, node: this.#founder, run: 0 },
      configuration: firstConfiguration([this.#founder]),
      state: firstValue('founded'),
    };
    if (id === this.#founder && store.load(GROUP) === undefined)
      void foundRegister(store, GROUP, founding);
    const member = { id, key, path, store, certificate: before } as Member;
    member.node = new RegisterNode<string>({
      group: GROUP,
      peers: {
        self: id,
        cast: (to, method, body) => this.#cast(id, to, method, body),
        onCast: (method, handler) => void this.#handlers.set(`${id} ${method}`, handler),
      },
      store,
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      known: before === undefined ? founding : { ...before, state: before.value },
      isVouched,
      sign: (message) => key.sign(message),
      isRecord: (record): record is string => typeof record === 'string',
      mayPropose: (node) => this.proposers?.some((each) => idOf(each) === node) ?? true,
      committed: (certificate) => {
        member.certificate = certificate;
        for (const other of this.members.values())
          if (other !== member && !this.away.has(other.id)) {
            other.node.learn(certificate);
            other.certificate = certificate;
          }
      },
    });
    this.members.set(id, member);
    return member;
  }

  /** Says something to a node that no node would say. */
  tell(name: string, body: unknown): void {
    this.#handlers.get(`${idOf(name)} log.${GROUP}`)?.(body, 'stranger');
  }

  #cast(from: string, to: string, method: string, body: unknown): void {
    if (this.away.has(from) || this.away.has(to)) return;
    const bytes = encode(body);
    setImmediate(() => {
      if (!this.away.has(to)) this.#handlers.get(`${to} ${method}`)?.(decode(bytes), from);
    });
  }
}

const keyOf = (name: string): SigningKey =>
  keyFromSeed(createHash('sha256').update(`register ${name}`).digest());
const idOf = (name: string): string => nodeId(keyOf(name).publicKey);

async function stop({ node, store }: Member): Promise<void> {
  await node.close();
  store.close();
}

const numberOf = (member: Member): number => member.node.known.state?.number ?? 0;

const votersOf = (member: Member): number => member.node.known.configuration?.number ?? 0;

function write(member: Member, record: string): Promise<RegisterOutcome<string>> {
  const asked = {
    kind: 'write',
    expected: numberOf(member),
    under: votersOf(member),
    record,
  } as const;
  return member.node.ask(asked, { timeoutMs: TIMEOUT_MS });
}

function change(member: Member, voters: Member[]): Promise<RegisterOutcome<string>> {
  const [expected, under] = [votersOf(member), numberOf(member)];
  const asked = { kind: 'voters', expected, under, voters: voters.map(({ id }) => id) } as const;
  return member.node.ask(asked, { timeoutMs: TIMEOUT_MS });
}

test('one voter becomes three in one step; any node writes; one may be away', async (t) => {
  const hall = new Hall(t);
  const [a, b, c] = ['a', 'b', 'c'].map((name) => hall.open(name)) as [Member, Member, Member];
  t.match(await write(a, 'alone'), { kind: 'committed', number: 2 });
  t.match(await write(b, 'by another'), { kind: 'committed', number: 3 }, 'that is no voter');
  t.match(await change(a, [a, b, c]), { kind: 'committed' });
  t.match(await write(c, 'by three'), { kind: 'committed', number: 4 });
  hall.away.add(a.id);
  t.match(await write(b, 'without the founder'), { kind: 'committed', number: 5 });
  hall.away.delete(a.id);
  t.match(await a.node.ask({ kind: 'read' }, { timeoutMs: TIMEOUT_MS }), {
    kind: 'committed',
    number: 5,
    value: { record: 'without the founder' },
  });
  const stale = { kind: 'write', expected: 4, under: 3, record: 'late' } as const;
  t.match(await c.node.ask(stale, { timeoutMs: TIMEOUT_MS }), { kind: 'conflict' });
});

test('R4: what is committed comes with a certificate that holds for nothing else', async (t) => {
  const hall = new Hall(t);
  const [a, b, c] = ['a', 'b', 'c'].map((name) => hall.open(name)) as [Member, Member, Member];
  await change(a, [a, b, c]);
  await write(b, 'proven');
  const proof = b.certificate as RegisterCertificate<string>;
  t.match(proof, { value: { record: 'proven' }, configuration: { voters: [a.id, b.id, c.id] } });
  const isProven = (certificate: RegisterCertificate<string>, group = GROUP): boolean =>
    isCertified(group, [a.id], certificate);
  t.ok(isProven(proof));
  const { value, ballot, signatures } = proof;
  const forgeries: Record<string, RegisterCertificate<string>> = {
    'another record': { ...proof, value: { ...value, record: 'forged' } },
    'another index': { ...proof, index: proof.index + 1 },
    'another ballot': { ...proof, ballot: { ...ballot, counter: ballot.counter + 1 } },
    'other voters': { ...proof, configuration: { number: 3, voters: [b.id] } },
    'one voter': { ...proof, signatures: signatures.slice(0, 1) },
    'one voter twice': {
      ...proof,
      signatures: [signatures[0], signatures[0]].map((each) => each!),
    },
  };
  for (const [what, forgery] of Object.entries(forgeries)) t.notOk(isProven(forgery), what);
  t.notOk(isProven(proof, 'other'), 'another register');
});

test('B1: who starts again votes once enough others have answered; what it had is there', async (t) => {
  const hall = new Hall(t);
  const [a, b, c] = ['a', 'b', 'c'].map((name) => hall.open(name)) as [Member, Member, Member];
  await change(a, [a, b, c]);
  await write(a, 'before');
  await Promise.all([a, b, c].map(stop));
  const again = ['a', 'b', 'c'].map((name) => hall.open(name)) as [Member, Member, Member];
  t.match(await write(again[1], 'after'), { kind: 'committed', value: { record: 'after' } });
  await stop(again[2]);
  hall.away.add(again[1].id);
  const vouched = hall.open('c', { isVouched: true });
  t.match(await write(vouched, 'by two'), { kind: 'committed' }, 'one other is enough');
});

test('who may not propose is not heard', async (t) => {
  const hall = new Hall(t);
  const [a, b] = ['a', 'b', 'thief'].map((name) => hall.open(name)) as [Member, Member];
  const thief = hall.members.get(idOf('thief')) as Member;
  await change(a, [a, b]);
  hall.proposers = ['a', 'b'];
  const asked = {
    kind: 'write',
    expected: numberOf(a),
    under: votersOf(a),
    record: 'forged',
  } as const;
  t.strictSame(await thief.node.ask(asked, { timeoutMs: 300 }), { kind: 'unknown' });
  t.match(await write(b, 'by one who may'), {
    kind: 'committed',
    value: { record: 'by one who may' },
  });
});

/** A store whose writes the test decides on. */
function governed(govern: () => Promise<void>): (store: AcceptorStore) => AcceptorStore {
  return (store) => ({
    create: (group, state) => store.create(group, state),
    load: (group) => store.load(group),
    write: async (group, writes) => {
      await govern();
      await store.write(group, writes);
    },
    close: () => store.close(),
  });
}

test('L6: nothing is said before it is on disk', async (t) => {
  const hall = new Hall(t);
  const [a, b] = ['a', 'b'].map((name) => hall.open(name)) as [Member, Member];
  const disk = Promise.withResolvers<void>();
  let isSlow = false;
  const c = hall.open('c', { wrap: governed(() => (isSlow ? disk.promise : Promise.resolve())) });
  await change(a, [a, b, c]);
  hall.away.add(b.id);
  isSlow = true;
  const asked = {
    kind: 'write',
    expected: numberOf(a),
    under: votersOf(a),
    record: 'kept',
  } as const;
  const outcome = await a.node.ask(asked, { timeoutMs: 300, id: 'one' });
  t.strictSame(outcome, { kind: 'unknown' });
  disk.resolve();
  t.match(await a.node.ask(asked, { timeoutMs: TIMEOUT_MS, id: 'one' }), { kind: 'committed' });
});

test('L6: a voter whose disk fails says nothing more; the others go on', async (t) => {
  const hall = new Hall(t);
  const [a, b] = ['a', 'b'].map((name) => hall.open(name)) as [Member, Member];
  let isFailing = false;
  let writes = 0;
  const fail = (): Promise<void> => {
    writes++;
    return isFailing ? Promise.reject(new Error('no space left')) : Promise.resolve();
  };
  const c = hall.open('c', { wrap: governed(fail) });
  await change(a, [a, b, c]);
  isFailing = true;
  t.match(await write(a, 'on two'), { kind: 'committed' });
  t.match(await write(b, 'on two again'), { kind: 'committed' });
  while (c.node.standing !== 'stopped') await new Promise((wake) => setImmediate(wake));
  // The disk works again, but what the voter believes is not on it.
  isFailing = false;
  writes = 0;
  hall.away.add(b.id);
  const asked = {
    kind: 'write',
    expected: numberOf(a),
    under: votersOf(a),
    record: 'on one',
  } as const;
  t.strictSame(await a.node.ask(asked, { timeoutMs: 500 }), { kind: 'unknown' });
  t.equal(writes, 0);
});

test('what has not the form of a message is dropped, and a closed register says so', async (t) => {
  const hall = new Hall(t);
  const a = hall.open('a');
  await write(a, 'one');
  const bad: unknown[] = [
    undefined,
    null,
    1,
    {},
    { kind: 'accept' },
    { kind: 'prepare', ballot: 1 },
  ];
  for (const body of bad) hall.tell('a', body);
  t.match(await write(a, 'two'), { kind: 'committed' });
  const asked = { kind: 'voters', expected: 1, under: 1, voters: [] } as const;
  t.throws(() => a.node.ask(asked, { timeoutMs: 1 }), { code: 'ERR_RING_VOTERS' });
  await a.node.close();
  t.throws(() => a.node.ask({ kind: 'read' }, { timeoutMs: 1 }), { code: 'ERR_RING_CLOSED' });
});
