import { test } from 'tap';
import { type Random, randomInt, seededRandom } from '../../spec/random.ts';
import {
  ACTIVE_MAX,
  ACTIVE_WANTED,
  type NeighborRequest,
  PartialView,
  PASSIVE_MAX,
  type Priority,
} from './partial-view.ts';

/** Views that hear each other after a turn; those who are gone hear nothing. */
class Overlay {
  readonly views: PartialView[] = [];
  readonly gone = new Set<number>();
  readonly #random: Random;
  #post: { from: string; to: string; request: NeighborRequest }[] = [];
  nowMs = 0;

  constructor(nodes: number, seed = 1) {
    this.#random = seededRandom(seed);
    for (let node = 0; node < nodes; node++) this.views.push(this.fresh(node));
  }

  fresh(node: number): PartialView {
    return new PartialView({
      send: (to, request) => void this.#post.push({ from: `${node}`, to, request }),
      someone: (fits) => {
        for (let tries = 0; tries < 20; tries++) {
          const id = `${randomInt(this.#random, this.views.length)}`;
          if (id !== `${node}` && !this.gone.has(Number(id)) && fits(id)) return id;
        }
        return undefined;
      },
    });
  }

  run(forMs: number): void {
    for (const untilMs = this.nowMs + forMs; this.nowMs < untilMs; this.nowMs += 10) {
      this.views.forEach((view, node) => {
        if (!this.gone.has(node)) view.tick(this.nowMs);
      });
      for (const { from, to, request } of this.#post.splice(0))
        if (!this.gone.has(Number(to)))
          this.views[Number(to)]?.receive(from, request, this.nowMs, this.#random);
    }
  }

  /** How many of those who are there the first of them reaches along active views. */
  get reached(): number {
    const first = this.views.findIndex((_, node) => !this.gone.has(node));
    const seen = new Set([first]);
    for (const node of seen)
      for (const id of this.views[node]?.active ?? [])
        if (!this.gone.has(Number(id))) seen.add(Number(id));
    return seen.size;
  }

  get isMutual(): boolean {
    return this.views.every(
      ({ active }, node) =>
        this.gone.has(node) ||
        active.every(
          (id) =>
            this.gone.has(Number(id)) ||
            this.views[Number(id)]?.active.includes(`${node}`) === true,
        ),
    );
  }
}

test('all find neighbours, each other’s, and are one overlay', (t) => {
  for (const nodes of [10, 300, 10_000]) {
    const overlay = new Overlay(nodes);
    overlay.run(5_000);
    const degrees = overlay.views.map(({ active }) => active.length);
    t.ok(Math.min(...degrees) >= Math.min(ACTIVE_WANTED, nodes - 1), `at least ${ACTIVE_WANTED}`);
    t.ok(Math.max(...degrees) <= ACTIVE_MAX, `P1: at most ${ACTIVE_MAX}`);
    t.ok(overlay.isMutual, 'P2');
    t.equal(overlay.reached, nodes);
  }
  t.end();
});

test('when 30 % die at once the others stay one overlay, and fill up again', (t) => {
  const overlay = new Overlay(10_000, 2);
  overlay.run(5_000);
  for (let node = 0; node < 10_000; node++) if (node % 10 < 3) overlay.gone.add(node);
  t.ok(overlay.reached > 6_900, `${overlay.reached} of 7,000 at once`);
  for (const view of overlay.views)
    for (const id of view.active) if (overlay.gone.has(Number(id))) view.lost(id, overlay.nowMs);
  overlay.run(5_000);
  t.equal(overlay.reached, 7_000);
  t.ok(overlay.isMutual);
  const degrees = overlay.views
    .filter((_, node) => !overlay.gone.has(node))
    .map(({ active }) => active.length);
  t.ok(Math.min(...degrees) >= ACTIVE_WANTED);
  t.end();
});

/** One view, whose neighbours say what the test says. */
class Alone {
  /** What it has said since the last look. */
  #sent: [to: string, what: string][] = [];
  readonly #random: Random;
  readonly view = new PartialView({
    send: (to, request) =>
      void this.#sent.push([to, request.kind === 'neighbor' ? request.priority : request.kind]),
    someone: () => undefined,
  });

  constructor(neighbors = 0, seed = 1) {
    this.#random = seededRandom(seed);
    for (let i = 0; i < neighbors; i++) this.hear(`n${i}`, 'low');
    this.said();
  }

  hear(from: string, what: Priority | 'disconnect', nowMs = 0): void {
    const request: NeighborRequest =
      what === 'disconnect' ? { kind: what } : { kind: 'neighbor', priority: what };
    this.view.receive(from, request, nowMs, this.#random);
  }

  said(): [to: string, what: string][] {
    return this.#sent.splice(0);
  }
}

test('P3: who has nobody is taken in by one that is full, and who has too few is not', (t) => {
  const gone = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const full = new Alone(ACTIVE_MAX, seed);
    full.hear('low', 'low');
    t.strictSame(full.said(), [['low', 'disconnect']]);
    full.hear('high', 'high');
    const [goodbye, answer] = full.said();
    t.strictSame([goodbye?.[1], answer], ['disconnect', ['high', 'yes']], 'another goes');
    const other = goodbye?.[0] ?? '';
    t.equal(full.view.active.length, ACTIVE_MAX);
    t.ok(full.view.passive.includes(other), 'and may come back');
    gone.add(other);
  }
  t.ok(gone.size > ACTIVE_MAX / 2, 'whoever it may be');
  t.end();
});

test('P2: only an answer to what was asked, and not taken back since, makes a neighbour', (t) => {
  const alone = new Alone();
  const { view } = alone;
  alone.hear('stranger', 'yes');
  t.strictSame(alone.said(), [['stranger', 'disconnect']], 'it was not asked');

  view.met('one');
  view.tick(0);
  t.strictSame(alone.said(), [['one', 'high']], 'with nobody it must be taken in');
  alone.hear('one', 'yes', 5);
  t.strictSame(alone.said(), [], 'an answer has none');
  t.strictSame(view.active, ['one']);
  t.equal(view.wakeMs, 5, 'and the next is asked at once');
  alone.hear('one', 'low');
  t.strictSame(alone.said(), [['one', 'yes']], 'a neighbour that affirms hears that it is one');

  for (const refuse of [
    (id: string) => alone.hear(id, 'disconnect', 10),
    (id: string) => view.lost(id, 10),
  ]) {
    view.met('two');
    view.tick(10_000);
    t.strictSame(alone.said(), [['two', 'low']]);
    refuse('two');
    alone.hear('two', 'yes', 11);
    t.strictSame(alone.said(), [['two', 'disconnect']], 'what it said before is over');
    t.strictSame(view.active, ['one']);
  }

  const full = new Alone(ACTIVE_MAX);
  full.view.affirmAll();
  full.hear('newcomer', 'high');
  const gone = full.said()[ACTIVE_MAX]?.[0] ?? '';
  full.view.lost('newcomer', 0);
  full.hear(gone, 'yes');
  t.strictSame(full.said(), [[gone, 'disconnect']], 'it had to go, whatever it answers now');
  t.end();
});

test('who is asked, and when', (t) => {
  const alone = new Alone(2);
  const { view } = alone;
  for (const id of ['a', 'b', 'n1']) view.met(id);
  view.tick(0);
  t.strictSame(alone.said(), [['b', 'low']], 'no neighbour is asked again');
  view.met('c');
  t.strictSame(view.passive, ['a', 'c'], 'nor who was asked already');
  alone.hear('b', 'disconnect', 50);
  view.tick(50);
  t.strictSame(alone.said(), [], 'after a refusal not at once');
  view.tick(view.wakeMs);
  t.strictSame(alone.said(), [['c', 'low']]);
  view.lost('n0', 200);
  t.equal(view.wakeMs, 200, 'a lost neighbour is replaced at once');
  view.retain((id) => id !== 'n1', 300);
  t.strictSame(view.active, [], 'and who is no member is none');
  t.end();
});

test('P2: who was restarted takes its neighbours in again, when they affirm', (t) => {
  const overlay = new Overlay(50, 3);
  overlay.run(5_000);
  overlay.views[7] = overlay.fresh(7);
  t.notOk(overlay.isMutual);
  let rounds = 0;
  for (; !overlay.isMutual && rounds < ACTIVE_MAX * 2; rounds++) {
    for (const view of overlay.views) view.affirm();
    overlay.run(1_000);
  }
  t.ok(overlay.isMutual, `after ${rounds} rounds`);
  overlay.views[9] = overlay.fresh(9);
  for (const view of overlay.views) view.affirmAll();
  overlay.run(1_000);
  t.ok(overlay.isMutual, 'and at once, when they affirm all');
  t.end();
});

test('P4: a circle that is among itself opens to those it meets', (t) => {
  const overlay = new Overlay(200, 4);
  for (let node = 10; node < 200; node++) overlay.gone.add(node);
  overlay.run(5_000);
  for (let node = 0; node < 10; node++) overlay.gone.add(node);
  for (let node = 10; node < 200; node++) overlay.gone.delete(node);
  overlay.run(5_000);
  overlay.gone.clear();
  t.equal(overlay.reached, 10, 'it has neighbours enough');
  const random = seededRandom(5);
  for (let round = 0; round < 4; round++) {
    for (const view of overlay.views) {
      view.met(`${randomInt(random, 200)}`);
      view.affirm();
    }
    overlay.run(1_000);
  }
  t.equal(overlay.reached, 200);
  t.ok(overlay.isMutual);
  t.ok(overlay.views.every(({ active }) => active.length <= ACTIVE_MAX));
  t.end();
});

test('P4: of enough neighbours the oldest gives way to one met by chance, and to no neighbour', (t) => {
  const alone = new Alone(ACTIVE_WANTED);
  const { view } = alone;
  for (const id of ['met', 'n3']) view.met(id);
  view.affirm();
  t.strictSame(alone.said(), [
    ['n0', 'low'],
    ['met', 'low'],
  ]);
  alone.hear('n0', 'yes');
  t.strictSame(alone.said(), [], 'who was a neighbour costs nobody its place');
  alone.hear('met', 'yes');
  t.strictSame(alone.said(), [['n0', 'disconnect']]);
  t.strictSame(view.active, ['n1', 'n2', 'n3', 'n4', 'met']);

  alone.hear('sixth', 'low');
  alone.said();
  view.affirm();
  alone.hear(alone.said()[0]?.[0] ?? '', 'yes');
  t.equal(view.active.length, ACTIVE_WANTED + 1, 'nor when there are more than are wanted');

  const few = new Alone(2);
  few.view.met('met');
  few.view.affirm();
  t.strictSame(few.said(), [['n0', 'low']], 'who has too few asks others by `tick`');
  t.strictSame(few.view.passive, ['met']);
  t.end();
});

test('the passive view is those met last; the latest is asked first', (t) => {
  const asked: string[] = [];
  const view = new PartialView({
    send: (to) => void asked.push(to),
    someone: () => 'anybody',
  });
  for (let i = 0; i < PASSIVE_MAX + 5; i++) view.met(`n${i}`);
  t.equal(view.passive.length, PASSIVE_MAX);
  view.met('n7');
  view.lost('n34', 0);
  view.tick(0);
  view.tick(view.wakeMs);
  t.strictSame(asked, ['n7', 'n33']);
  view.retain((id) => id === 'n10', 0);
  t.strictSame(view.passive, ['n10']);
  t.end();
});
