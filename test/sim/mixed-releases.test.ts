/**
 * Two releases in one lattice. The next one appends to every list, has kinds and states that this one does not know,
 * puts a new fact under a number of its own, and speaks its own form of a ping with whom it can.
 */
import { test } from 'tap';
import { SWIM_VERSION } from '../../ring/core/swim-wire.ts';
import { SwimLattice } from './swim-lattice.ts';

const NODES = 20;
const NEXT = SWIM_VERSION + 1;
const NEW_FACT = 90;
const [PING, GOSSIP, NEW_PING, NEW_NEWS, NEW_STATE] = [0, 4, 31, 32, 17];

type Wire = [epoch: number, message: [number, number, number, number, unknown[], ...unknown[]]];

const isNext = (index: number): boolean => index >= NODES / 2;

/** What the next release makes of a message. */
function written(lattice: SwimLattice, from: number, to: number, body: unknown): unknown {
  if (!isNext(from)) return body;
  const [epoch, [, kind, incarnation, seq, updates, ...rest]] = body as Wire;
  const most = lattice.view(from, to)?.facts?.protocol[1] ?? SWIM_VERSION;
  const told = (updates as unknown[][]).map(([id, state, number, facts = null, by = null]) => [
    id,
    state,
    number,
    Array.isArray(facts) ? withAppended(facts, 11) : facts,
    by,
    'appended',
  ]);
  told.push([lattice.ids[from], NEW_STATE, incarnation]);
  // A kind that is not known counts as gossip; where more hangs on it the other must know it.
  const newKind = kind === GOSSIP ? NEW_NEWS : kind === PING && most >= NEXT ? NEW_PING : kind;
  return [epoch, [NEXT, newKind, incarnation, seq, told, ...withAppended(rest, 3)]];
}

/** Behind the `length` places that are known, one that is not. */
function withAppended(list: readonly unknown[], length: number): unknown[] {
  return [...list, ...Array.from({ length: length - list.length }, () => null), 'appended'];
}

/** The next release knows its own kinds; this one reads what it can. */
function read(to: number, body: unknown): unknown {
  const [epoch, [version, kind, ...rest]] = body as Wire;
  if (!isNext(to)) return body;
  return [epoch, [version, { [NEW_PING]: PING, [NEW_NEWS]: GOSSIP }[kind] ?? kind, ...rest]];
}

test('two releases are one lattice, and pass on what they do not know', (t) => {
  const ownWords = new Set<string>();
  const lattice = new SwimLattice({
    nodes: NODES,
    seed: 1,
    sampleEvery: 1,
    facts: (index) =>
      isNext(index)
        ? { protocol: [SWIM_VERSION, NEXT], ext: { [NEW_FACT]: new Uint8Array([index]) } }
        : {},
    release: {
      written: (of, from, to, body) => {
        const wire = written(of, from, to, body);
        const [, [, kind]] = wire as Wire;
        if (kind === NEW_PING) ownWords.add(`${isNext(from)} ${isNext(to)}`);
        return wire;
      },
      read,
    },
  });
  const all = Array.from({ length: NODES }, (_, index) => index);
  const deaths: string[] = [];
  lattice.changed = (observer, member, state) => {
    if (state === 'dead') deaths.push(`${observer} ${member}`);
  };
  // The two halves of the next release hear of each other through this one alone.
  const half = NODES * 0.75;
  lattice.network.canReach = (from, to) =>
    !isNext(from) || !isNext(to) || from < half === to < half;
  t.ok(
    lattice.runUntil(() => lattice.allSee(all, all, 'alive'), 10_000),
    'all see all',
  );
  lattice.run(60_000);
  t.strictSame(deaths, [], 'and nobody is taken for dead');
  for (const observer of all)
    for (const member of all.filter(isNext)) {
      const facts = lattice.view(observer, member)?.facts;
      t.strictSame(
        [facts?.protocol, [...(facts?.ext?.[NEW_FACT] ?? [])]],
        [[SWIM_VERSION, NEXT], [member]],
        `${observer} knows what ${member} said`,
      );
    }
  t.strictSame([...ownWords], ['true true'], 'the next release speaks its own way with its own');

  lattice.network.canReach = () => true;
  lattice.kill(2);
  lattice.kill(12);
  const rest = all.filter((index) => index !== 2 && index !== 12);
  t.ok(
    lattice.runUntil(() => lattice.allSee(rest, [2, 12], 'dead'), 30_000),
    'both find who is dead, of both',
  );
  lattice.start(2);
  lattice.start(12);
  t.ok(
    lattice.runUntil(() => lattice.allSee(all, all, 'alive'), 10_000),
    'and who is back',
  );
  t.end();
});
