import { test } from 'tap';
import { seededRandom } from '../../spec/random.ts';
import { chooseRelays, type RelayCandidate } from './relay-choice.ts';

const random = seededRandom(7);
const member = (id: string, more: Partial<RelayCandidate> = {}): RelayCandidate => ({
  id,
  roles: ['storage'],
  ...more,
});

test('the nearest, then other regions, then other zones', (t) => {
  const candidates = [
    member('far', { region: 'us', zone: 'u1', rttMs: 90 }),
    member('near', { region: 'eu', zone: 'e1', rttMs: 1 }),
    member('beside', { region: 'eu', zone: 'e1', rttMs: 2 }),
    member('across', { region: 'eu', zone: 'e2', rttMs: 3 }),
    member('new', { region: 'eu', zone: 'e3' }),
  ];
  t.strictSame(chooseRelays(candidates, [], random), ['near', 'far', 'across']);
  t.strictSame(chooseRelays(candidates.slice(1, 3), [], random), ['near', 'beside']);
  t.strictSame(chooseRelays([], ['near'], random), []);
  t.end();
});

test('relays before those that keep data or vote, and these before others', (t) => {
  const laptop = member('laptop', { roles: ['compute'], rttMs: 1 });
  const store = member('store', { rttMs: 2 });
  const relay = member('relay', { roles: ['relay'], rttMs: 3 });
  t.strictSame(chooseRelays([laptop, store, relay], ['store'], random), ['relay']);
  t.strictSame(chooseRelays([laptop, store], ['laptop'], random), ['store']);
  const voter = member('voter', { roles: ['voter', 'compute'], rttMs: 4 });
  t.strictSame(chooseRelays([laptop, voter], [], random), ['voter']);
  t.strictSame(chooseRelays([laptop], [], random), ['laptop']);
  t.end();
});

test('who serves stays', (t) => {
  const many = Array.from({ length: 9 }, (_, i) => member(`n${i}`, { rttMs: i }));
  t.strictSame(chooseRelays(many, ['n7', 'n8', 'gone'], random).toSorted(), ['n0', 'n7', 'n8']);
  t.strictSame(chooseRelays(many, ['n0'], random), ['n0', 'n1', 'n2'], 'and is chosen once');
  const alike = many.map(({ id }) => member(id));
  const chosen = new Set(Array.from({ length: 50 }, () => chooseRelays(alike, [], random)[0]));
  t.ok(chosen.size > 3, 'who are alike share the work');
  t.end();
});
