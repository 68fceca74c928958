import { test } from 'tap';
import { accusedBy } from './swim-claim.ts';
import type { Update } from './swim-message.ts';

const suspect = (...accusers: string[]): Update => ({
  id: 'b',
  state: 'suspect',
  incarnation: 1,
  accusers,
});

test('a claim that says just what is known now is kept itself, any other is not', (t) => {
  const known = suspect('c');
  const claim = suspect('c', 'd');
  t.equal(accusedBy(['c', 'd'], claim, known), claim);
  const others = [suspect('d'), suspect('d', 'c'), suspect('c', 'd', 'e')];
  for (const other of others) t.strictSame(accusedBy(['c', 'd'], other, known), suspect('c', 'd'));
  const facts = {
    incarnation: 1,
    version: 1,
    addresses: ['h:1'],
    protocol: [1, 1] as const,
    certificateEpoch: 1,
  };
  t.strictSame(accusedBy(['c', 'd'], { ...claim, facts }, known), suspect('c', 'd'));
  t.strictSame(known, suspect('c'), 'it stays as it was');
  t.end();
});
