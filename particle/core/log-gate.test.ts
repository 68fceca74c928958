import { test } from 'tap';
import { LogGate } from './log-gate.ts';

test('output becomes lines', (t) => {
  const lines: string[] = [];
  const gate = new LogGate(0, (line) => lines.push(line));
  const bytes = new TextEncoder().encode('one\ntw—o\nthr');
  gate.write(bytes.subarray(0, 7), 0);
  gate.write(bytes.subarray(7), 0);
  t.same(lines, ['one', 'tw—o'], 'a character may be cut between two writes');
  gate.flush(0);
  t.same(lines, ['one', 'tw—o', 'thr']);
  gate.write(new TextEncoder().encode('x'.repeat(10_000)), 0);
  t.ok((lines[3]?.length ?? 0) < 5_000, 'a line without an end is passed on, cut');
  t.end();
});

test('a flood is dropped, counted, and forgiven with time', (t) => {
  const lines: string[] = [];
  const gate = new LogGate(0, (line) => lines.push(line));
  gate.write(new TextEncoder().encode('x\n'.repeat(1_500)), 0);
  t.equal(lines.length, 1_000);
  gate.write(new TextEncoder().encode('after\n'), 1_000);
  t.same(lines.slice(1_000), ['(500 lines dropped: more than 200 a second)', 'after']);
  t.end();
});
