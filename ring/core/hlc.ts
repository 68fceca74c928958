/**
 * Hybrid logical clock (Kulkarni et al., 2014): stamps near wall time that still order cause before
 * effect.
 *
 * A stamp is text that sorts as stamps do: wall milliseconds, counter, node, boot, sequence. It is
 * the version of a row, opaque to everybody else.
 *
 * I1  Stamps are never reused: (node, boot, sequence) is unique, because a boot number is durable
 *     before its first stamp and the sequence only grows. Clocks may do what they like.
 * I2  `tick` returns more than every stamp it has returned before and every one observed.
 * I3  A stamp from a clock that is ahead does not drag this one along: what is ahead is not observed.
 */

/** Text: 9 digits of wall ms, 6 of counter, then node, boot and sequence, numbers in base 36. */
export type Stamp = string;

/** A stamp further ahead of the receiver's wall clock than this is refused. */
export const AHEAD_MS_MAX = 500;

const WALL_DIGITS = 9;
const COUNTER_DIGITS = 6;
const NAME_AT = WALL_DIGITS + COUNTER_DIGITS;
const STAMP = /^[0-9a-z]{15}[0-9A-Za-z_-]{1,64}\.[0-9a-z]{6}\.[0-9a-z]{8}$/;

export class HybridClock {
  readonly #node: string;
  readonly #boot: string;
  #wallMs = 0;
  #counter = 0;
  #sequence = 0;

  /** @param boot higher than at every earlier start of this node, durably so. */
  constructor(node: string, boot: number) {
    this.#node = node;
    this.#boot = digits(boot, 6);
  }

  /** The next stamp. */
  tick(nowMs: number): Stamp {
    this.#advance(nowMs, 0);
    return this.#make(this.#wallMs, this.#counter);
  }

  /** A stamp above `stamp`, which may be far ahead: this clock stays where it is (I3). */
  tickAfter(stamp: Stamp, nowMs: number): Stamp {
    this.observe(stamp, nowMs);
    const own = this.tick(nowMs);
    if (own > stamp) return own;
    return this.#make(stampWallMs(stamp), counterOf(stamp) + 1);
  }

  /** Takes note of a stamp from elsewhere, unless it is ahead (I2, I3). */
  observe(stamp: Stamp, nowMs: number): void {
    const wallMs = stampWallMs(stamp);
    if (wallMs <= nowMs + AHEAD_MS_MAX) this.#advance(wallMs, counterOf(stamp));
  }

  #advance(wallMs: number, counter: number): void {
    if (wallMs > this.#wallMs) {
      this.#wallMs = wallMs;
      this.#counter = counter;
    } else if (wallMs === this.#wallMs) {
      this.#counter = Math.max(this.#counter, counter) + 1;
    } else {
      this.#counter++;
    }
  }

  #make(wallMs: number, counter: number): Stamp {
    const time = digits(wallMs, WALL_DIGITS) + digits(counter, COUNTER_DIGITS);
    return `${time}${this.#node}.${this.#boot}.${digits(this.#sequence++, 8)}`;
  }
}

/** Wall clock of whoever made the stamp, Unix ms. */
export function stampWallMs(stamp: Stamp): number {
  return Number.parseInt(stamp.slice(0, WALL_DIGITS), 36);
}

export function isStamp(value: unknown): value is Stamp {
  return typeof value === 'string' && STAMP.test(value);
}

function counterOf(stamp: Stamp): number {
  return Number.parseInt(stamp.slice(WALL_DIGITS, NAME_AT), 36);
}

function digits(value: number, width: number): string {
  return value.toString(36).padStart(width, '0');
}
