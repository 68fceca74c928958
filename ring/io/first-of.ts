import type { Clock } from '../../spec/clock.ts';

/**
 * Tries one thing after the other, each as soon as the one before has failed or had its head start; the first that
 * succeeds ends the others (RFC 8305 §5).
 *
 * @param attempts at least one.
 * @throws what the last attempt threw, when all did.
 */
export async function firstOf<T>(
  attempts: readonly ((signal: AbortSignal) => Promise<T>)[],
  headStartMs: number,
  clock: Clock,
): Promise<T> {
  const ending = new AbortController();
  const { signal } = ending;
  let turn: Promise<unknown> = Promise.resolve();
  const tries = attempts.map((attempt) => {
    const start = turn;
    const tried = begin(start, attempt, signal);
    turn = next(start, tried, () => pause(headStartMs, clock, signal));
    return tried;
  });
  try {
    return await Promise.any(tries);
  } catch (error) {
    throw (error as AggregateError).errors.at(-1);
  } finally {
    ending.abort();
  }
}

async function begin<T>(
  start: Promise<unknown>,
  attempt: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  await start;
  signal.throwIfAborted();
  return attempt(signal);
}

async function next(
  start: Promise<unknown>,
  tried: Promise<unknown>,
  headStart: () => Promise<void>,
): Promise<void> {
  await start;
  await Promise.race([tried.catch(() => {}), headStart()]);
}

function pause(forMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const cancel = clock.after(forMs, done);
    signal.addEventListener('abort', () => {
      cancel();
      done();
    });
  });
}
