import type { Clock } from '../../spec/clock.ts';

/** What the promise brings. @throws what `late` makes when the time is over before. */
export async function within<T>(
  timeoutMs: number,
  promise: Promise<T>,
  late: () => Error,
  clock: Clock,
): Promise<T> {
  let cancel = (): void => {};
  const over = new Promise<never>((_done, fail) => {
    cancel = clock.after(Math.max(0, timeoutMs), () => fail(late()));
  });
  try {
    return await Promise.race([promise, over]);
  } finally {
    cancel();
  }
}
