import { test } from 'tap';
import { seededRandom } from './random.ts';
import { continueTrace } from './trace.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

test('a trace goes on under a new span', (t) => {
  const next = continueTrace(`00-${TRACE}-${PARENT}-00`, seededRandom(1));
  t.match(next, new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
  t.notMatch(next, PARENT);
  t.end();
});

test('a missing or malformed header starts a trace', (t) => {
  const random = seededRandom(1);
  for (const header of [
    undefined,
    '',
    `01-${TRACE}-${PARENT}-00`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${PARENT}-01`,
  ]) {
    const next = continueTrace(header, random);
    t.match(next, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    t.notMatch(next, TRACE);
  }
  t.end();
});
