import { test } from 'tap';
import { successors } from './swim-successors.ts';
import { Roster, View } from './swim-view.ts';

const ids = (size: number): string[] => Array.from({ length: size }, (_, index) => `n${index}`);
const viewOf = (names: readonly string[]): View =>
  new View(new Roster(names.map((id) => ({ id, address: `${id}:1` }))));
const all = (): boolean => true;

test('everybody is next to somebody, and news that all pass on to three reaches all in a few steps', (t) => {
  for (const size of [4, 10, 26, 100, 300]) {
    const view = viewOf(ids(size));
    const members = [...ids(size).keys()];
    const next = members.map((self) => successors(view, self, 3, all));
    t.ok(next.every((each, self) => new Set(each).size === 3 && !each.includes(self)));
    t.equal(new Set(next.map(([first]) => first)).size, size, 'on each ring all have another next');
    for (const origin of members) {
      const heard = new Set([origin]);
      let steps = 0;
      for (; heard.size < size && steps < 12; steps++) {
        const before = Array.from(heard);
        for (const self of before) for (const each of next[self] ?? []) heard.add(each);
      }
      // A tree of three branches needs log3 of the members; chance as much again.
      if (heard.size < size || steps > 2 + 2 * Math.log(size)) t.fail(`${origin} of ${size}`);
    }
  }
  t.end();
});

test('who does not fit is passed over, and the others still leave nobody out', (t) => {
  const view = viewOf(ids(30));
  const isAwake = (index: number): boolean => index % 3 > 0;
  const awake = [...ids(30).keys()].filter(isAwake);
  const first = awake.map((self) => successors(view, self, 3, isAwake)[0]);
  t.strictSame(new Set(first), new Set(awake));
  t.strictSame(successors(viewOf(['a', 'b']), 0, 3, all), [1], 'as many as there are');
  t.strictSame(
    successors(view, 0, 3, () => false),
    [],
  );
  t.end();
});

test('rings differ, and a newcomer changes who is next to those beside it alone', (t) => {
  const [before, after] = [viewOf(ids(100)), viewOf(['newcomer', ...ids(100).toReversed()])];
  const rings: number[] = [];
  let same = 0;
  for (const [self, id] of ids(100).entries()) {
    const next = successors(before, self, 3, all).map((index) => `n${index}`);
    const there = after.roster.indexOf(id);
    const now = successors(after, there, 3, all).map((index) => after.roster.members[index]?.id);
    if (next.join() === now.join()) same++;
    rings.push(Number(next[0] === next[1]));
  }
  t.ok(same >= 94, `${same} have the same`);
  t.strictSame(new Set(rings), new Set([0]));
  t.end();
});
