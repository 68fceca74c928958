/** How busy the machine is, told to the other nodes. */
import { availableParallelism, loadavg } from 'node:os';
import type { Clock } from '../../spec/clock.ts';

const EVERY_MS = 5_000;

/** @param tell gets 0 (idle) to 1 (as many runnable threads as processors, or more). @returns ends it. */
export function watchLoad(clock: Clock, tell: (load: number) => void): () => void {
  let cancel = (): void => {};
  const look = (): void => {
    const [lastMinute = 0] = loadavg();
    tell(Math.min(1, Math.round((lastMinute / availableParallelism()) * 100) / 100));
    cancel = clock.after(EVERY_MS, look);
  };
  look();
  return () => cancel();
}
