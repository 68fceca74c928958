import { test } from 'tap';
import { type Random, randomInt, seededRandom } from '../../spec/random.ts';
import {
  ACTIVE_MAX,
  ACTIVE_WANTED,
  type NeighborRequest,
  PartialView,
  PASSIVE_MAX,
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

test('P3: who has nobody is taken in by one that is full, and who has too few is not', (t) => {
  const sent: { to: string; request: NeighborRequest }[] = [];
  const view = new PartialView({
    send: (to, request) => void sent.push({ to, request }),
    someone: () => undefined,
  });
  const random = seededRandom(1);
  for (let i = 0; i < ACTIVE_MAX; i++)
    view.receive(`n${i}`, { kind: 'neighbor', priority: 'low' }, 0, random);
  view.receive('low', { kind: 'neighbor', priority: 'low' }, 0, random);
  t.strictSame(sent.at(-1), { to: 'low', request: { kind: 'disconnect' } });
  view.receive('high', { kind: 'neighbor', priority: 'high' }, 0, random);
  t.strictSame(sent.at(-1), { to: 'high', request: { kind: 'neighbor', priority: 'yes' } });
  t.match(sent.at(-2), { request: { kind: 'disconnect' } }, 'another goes');
  t.equal(view.active.length, ACTIVE_MAX);
  t.ok(view.passive.includes(sent.at(-2)?.to ?? ''), 'and may come back');
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
