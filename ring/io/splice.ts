import type { Duplex } from 'node:stream';
import type { Clock } from '../../spec/clock.ts';

export interface SpliceOptions {
  clock: Clock;
  /** Ends it when nothing has passed for so long. */
  idleMs: number;
  /** So many bytes have come. @returns how long no more are to be read. */
  charge: (bytes: number) => number;
  /** Once, after this function has returned. */
  ended: () => void;
}

/**
 * Joins two streams: what comes out of one goes into the other. Neither is read faster than the other is written, so that
 * little more than what one read brought waits in between. The end of one is the end of both.
 *
 * @returns ends it.
 */
export function splice(a: Duplex, b: Duplex, options: SpliceOptions): () => void {
  const { clock, idleMs, charge, ended } = options;
  let passedMs = clock.monotonicMs();
  let isOver = false;
  let cancelIdle = (): void => {};
  const rests = new Set<() => void>();

  const end = (): void => {
    if (isOver) return;
    isOver = true;
    cancelIdle();
    for (const cancel of rests) cancel();
    a.destroy();
    b.destroy();
    ended();
  };
  const watch = (): void => {
    const leftMs = passedMs + idleMs - clock.monotonicMs();
    if (leftMs <= 0) end();
    else cancelIdle = clock.after(leftMs, watch);
  };
  const pass = (from: Duplex, to: Duplex): void => {
    from.on('data', (chunk: Buffer) => {
      passedMs = clock.monotonicMs();
      const isFull = !to.write(chunk);
      const restMs = charge(chunk.length);
      if (!isFull && restMs <= 0) return;
      from.pause();
      let waits = 0;
      const done = (): void => {
        if (--waits === 0 && !isOver) from.resume();
      };
      if (isFull) {
        waits++;
        to.once('drain', done);
      }
      if (restMs > 0) {
        waits++;
        const cancel = clock.after(restMs, () => {
          rests.delete(cancel);
          done();
        });
        rests.add(cancel);
      }
    });
    from.once('end', () => to.end());
    from.on('error', end);
    from.once('close', end);
  };
  pass(a, b);
  pass(b, a);
  if (a.destroyed || b.destroyed) queueMicrotask(end);
  else watch();
  return end;
}
