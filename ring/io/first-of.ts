import type { Clock } from '../../spec/clock.ts';

/** Why an attempt is ended that was begun after the one that succeeded: it has not failed. */
export const NOT_NEEDED: unique symbol = Symbol('not needed');

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
  const endings = attempts.map(() => new AbortController());
  let winner = attempts.length;
  let turn: Promise<unknown> = Promise.resolve();
  const tries = attempts.map(async (attempt, i) => {
    const { signal } = endings[i] as AbortController;
    const start = turn;
    const tried = begin(start, attempt, signal);
    turn = next(start, tried, () => pause(headStartMs, clock, signal));
    const value = await tried;
    winner = Math.min(winner, i);
    return value;
  });
  try {
    return await Promise.any(tries);
  } catch (error) {
    throw (error as AggregateError).errors.at(-1);
  } finally {
    for (const [i, ending] of endings.entries()) ending.abort(i > winner ? NOT_NEEDED : undefined);
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
