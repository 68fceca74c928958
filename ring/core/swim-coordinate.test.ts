import { test } from 'tap';
import { randomInt, seededRandom } from '../../spec/random.ts';
import { type Coordinate, distanceMs, move, NOWHERE } from './swim-coordinate.ts';

test('coordinates come to tell round trips that were never measured', (t) => {
  const random = seededRandom(1);
  // Three sites on a line, 20 and 80 ms apart, each node up to 2 ms behind its uplink.
  const nodes = Array.from({ length: 30 }, (_, i) => ({
    site: [0, 20, 100][i % 3] as number,
    uplinkMs: 0.2 + random.next(),
  }));
  type Node = (typeof nodes)[number];
  const rttMs = (a: Node, b: Node): number => Math.abs(a.site - b.site) + a.uplinkMs + b.uplinkMs;
  const places: Coordinate[] = nodes.map(() => ({ ...NOWHERE }));
  const pick = (count: number): number => randomInt(random, count);
  for (let round = 0; round < 200; round++) {
    nodes.forEach((node, at) => {
      const other = (at + 1 + pick(nodes.length - 1)) % nodes.length;
      const jitterMs = random.next() * 0.5;
      const measuredMs = rttMs(node, nodes[other] as Node) + jitterMs;
      move(places[at] as Coordinate, places[other] as Coordinate, measuredMs, random);
    });
  }
  const errors = nodes.flatMap((a, i) =>
    nodes.slice(i + 1).map((b, j) => {
      const estimated = distanceMs(places[i] as Coordinate, places[i + 1 + j] as Coordinate);
      return Math.abs(estimated - rttMs(a, b)) / rttMs(a, b);
    }),
  );
  const median = errors.toSorted((a, b) => a - b)[errors.length >> 1] ?? NaN;
  t.ok(median < 0.1, `half of the estimates are wrong by less than ${median}`);
  t.ok(places.every(({ error }) => error < 0.6));
  t.end();
});
