import { test } from 'tap';
import type { RunPorts } from './run-ports.ts';
import { Run } from './run.ts';

test('runs draw from 128 bits of the digest of their id', (t) => {
  const drawn = (digest: string): number[] => {
    const identity = { workflowId: 'w', runId: 'r', name: 'w', version: '1' };
    const run = new Run(identity, async () => {}, { digest: () => digest } as unknown as RunPorts);
    return Array.from({ length: 8 }, () => run.random.next());
  };
  const digest = '0123456789abcdef'.repeat(4);
  t.same(drawn(digest), drawn(digest));
  for (const at of [0, 8, 16, 24]) {
    const other = `${digest.slice(0, at)}f${digest.slice(at + 1)}`;
    t.not(String(drawn(other)), String(drawn(digest)));
  }
  t.end();
});
