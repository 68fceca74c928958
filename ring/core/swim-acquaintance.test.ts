import { test } from 'tap';
import { Acquaintances, ACQUAINTANCES_MAX } from './swim-acquaintance.ts';
import { Roster } from './swim-view.ts';

const rosterOf = (from: number, to: number): Roster =>
  new Roster(
    Array.from({ length: to - from }, (_, at) => ({ id: `m${from + at}`, address: 'm:1' })),
  );

test('round trips are smoothed, loads are those said last', (t) => {
  const known = new Acquaintances();
  t.equal(known.rttMs(3), undefined, 'nobody is known yet');
  known.setRoster(rosterOf(0, 10));
  known.measured(3, 10);
  known.measured(3, 20);
  known.heard(3, 0.5);
  known.heard(3, 0.25);
  t.equal(known.rttMs(3), 12);
  t.equal(known.load(3), 0.25);
  known.heard(4, 0);
  t.equal(known.load(4), 0);
  t.equal(known.rttMs(4), undefined);
  t.equal(known.load(5), undefined);
  t.end();
});

test('of those who share a place the newest is known', (t) => {
  const known = new Acquaintances();
  known.setRoster(rosterOf(0, ACQUAINTANCES_MAX * 2));
  known.measured(1, 10);
  known.heard(1 + ACQUAINTANCES_MAX, 0.5);
  t.equal(known.rttMs(1), undefined);
  t.equal(known.rttMs(1 + ACQUAINTANCES_MAX), undefined, 'it does not inherit');
  t.equal(known.load(1 + ACQUAINTANCES_MAX), 0.5);
  t.end();
});

test('who stays in another roster stays known', (t) => {
  const known = new Acquaintances();
  known.setRoster(rosterOf(0, 10));
  known.measured(0, 1);
  known.measured(7, 7);
  known.heard(8, 0.5);
  known.setRoster(rosterOf(5, 30));
  t.equal(known.rttMs(2), 7);
  t.equal(known.load(3), 0.5);
  t.equal(known.rttMs(0), undefined);
  t.end();
});
