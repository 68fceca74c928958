/**
 * A node in a process of its own whose main loop does as it is told. As a program: RingOptions, as JSON; it says what
 * it sees of the others, and ends by itself once nobody listens.
 */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type MemberView, Ring, type RingOptions } from './index.ts';

export type Command =
  /** It stands still. */
  | { kind: 'block'; ms: number }
  /** It stands still until there is such a file. */
  | { kind: 'block-until'; path: string }
  /** It computes, and lets others have their turn after each span. */
  | { kind: 'work'; ms: number; times: number };

export type Said =
  | { kind: 'up'; id: string; address: string }
  | { kind: 'heard'; name: string; state: MemberView['state'] }
  | { kind: 'slept' }
  | { kind: 'done' };

if (import.meta.main) {
  const say = (said: Said): void => void process.send?.(said);
  const ring = await Ring.open(JSON.parse(process.argv[2] ?? '') as RingOptions);
  ring.rpc.serve('echo', (body) => body);
  ring.onChange((change) => {
    if (change.kind === 'member')
      say({ kind: 'heard', name: change.member.name, state: change.member.state });
    if (change.kind === 'slept') say({ kind: 'slept' });
  });
  say({ kind: 'up', id: ring.id, address: ring.address });
  process.on('message', (command: Command) => {
    if (command.kind === 'block') {
      standStill(command.ms);
      say({ kind: 'done' });
    } else if (command.kind === 'block-until') {
      while (!existsSync(command.path)) standStill(50);
      say({ kind: 'done' });
    } else void work(command.ms, command.times).then(() => say({ kind: 'done' }));
  });
  await once(process, 'disconnect');
  await ring.close();
}

function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

async function work(ms: number, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs) Math.sqrt(i);
    await new Promise(setImmediate);
  }
}
