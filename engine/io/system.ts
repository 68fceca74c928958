/** The real outside: hash, ids, and the end of a microtask queue. */
import { hash, randomUUID } from 'node:crypto';
import type { Random } from '../../spec/random.ts';

/** Ids per millisecond. */
const COUNT_MAX = 4_096;

export const systemRandom: Random = { next: () => Math.random() };

/** SHA-256 of UTF-8 text, hex. */
export function sha256(text: string): string {
  return hash('sha256', text, 'hex');
}

/**
 * UUIDs version 7 that sort also within a millisecond (RFC 9562 §6.2, method 1): journals of runs that go at
 * the same time lie side by side.
 */
export class SortedIds {
  #lastMs = 0;
  #count = 0;

  /** Those to come sort after this one, though the wall clock was set back since. */
  after(id: string): void {
    const ms = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
    if (ms >= this.#lastMs) this.#lastMs = ms + 1;
  }

  next(nowMs: number): string {
    if (nowMs > this.#lastMs) {
      this.#lastMs = nowMs;
      this.#count = 0;
    } else if (++this.#count === COUNT_MAX) {
      this.#lastMs++;
      this.#count = 0;
    }
    const time = this.#lastMs.toString(16).padStart(12, '0');
    const count = this.#count.toString(16).padStart(3, '0');
    const random = randomUUID().slice('xxxxxxxx-xxxx-4xxx-'.length);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-${random}`;
  }
}

/** Ticks in a row after which other work gets its turn, so that a long replay does not starve the process. */
const TICKS_MAX = 512;
let ticks = 0;

/**
 * Resolves when every microtask that is queued now, or that those queue, has run.
 *
 * A tick that a microtask asks for runs only when the microtask queue is empty: Node drains it in between.
 */
export function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => {
    if (++ticks < TICKS_MAX) {
      queueMicrotask(() => process.nextTick(resolve));
    } else {
      ticks = 0;
      setImmediate(resolve);
    }
  });
}

/** One turn of the event loop: who asks again and again in a loop must not starve what it waits for. */
export function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
