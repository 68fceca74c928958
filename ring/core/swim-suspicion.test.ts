import { test } from 'tap';
import { type SwimOptions, swimOptions } from './swim-options.ts';
import { ack, atMs, nodeA, random, said, tickUntil } from './swim.testkit.ts';

test('a suspicion lasts long while one node alone accuses, and is cut short by others', (t) => {
  const { suspicionPeriods, probeIntervalMs, suspicionFactorMax } = swimOptions();
  const least = suspicionPeriods * probeIntervalMs;
  /** How long b is suspect when so many accuse it. Nobody else answers badly. */
  const lastsMs = (accusers: string[], options: Partial<SwimOptions> = {}): number => {
    const swim = nodeA(8, { indirectProbes: 0, ...options });
    const isOther = (to: string): boolean => to !== 'b';
    for (const by of accusers)
      swim.step(said(by, { id: 'b', state: 'suspect', incarnation: 1, accusers: [by] }), 2, random);
    // Who accuses it here is not this node: it gets its answers.
    tickUntil(swim, least * 10, (to, message) =>
      message.kind === 'ping' && (isOther(to) || accusers.length > 0) ? [ack(to, message.seq)] : [],
    );
    return atMs(swim, 'dead') - atMs(swim, 'suspect: ');
  };
  const [one, two, three] = [['c'], ['c', 'd'], ['c', 'd', 'e']].map((by) => lastsMs(by));
  t.equal(one, least * suspicionFactorMax);
  t.ok((two ?? 0) < (one ?? 0) && (two ?? 0) > (three ?? 0), `${one} > ${two} > ${three}`);
  t.equal(three, least);
  t.equal(lastsMs(['c', 'c', 'c']), one, 'saying it again is not another accuser');
  t.equal(lastsMs(['c'], { lifeguard: false }), least);
  t.end();
});
