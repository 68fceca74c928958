/** A rate with a burst (the token bucket of RFC 2697, one rate): what is not taken is kept, up to the burst. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #debtMax: number;
  #tokens: number;
  #atMs: number;

  /**
   * Full at first.
   *
   * @param debtSeconds a debt is never more than can be paid in this time.
   */
  constructor(perSecond: number, burst: number, nowMs: number, debtSeconds = 1) {
    this.#debtMax = perSecond * debtSeconds;
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Takes so many if they are there. @returns false when they are not: none is taken. */
  tryTake(count: number, nowMs: number): boolean {
    this.#refill(nowMs);
    if (this.#tokens < count) return false;
    this.#tokens -= count;
    return true;
  }

  /**
   * Takes so many, on credit if need be: what came has come.
   *
   * @returns false when there was none left before.
   */
  charge(count: number, nowMs: number): boolean {
    this.#refill(nowMs);
    const isCovered = this.#tokens > 0;
    this.#tokens = Math.max(-this.#debtMax, this.#tokens - count);
    return isCovered;
  }

  /** How long until its debt is paid; 0 = it has none. */
  debtMs(nowMs: number): number {
    this.#refill(nowMs);
    return Math.max(0, (-this.#tokens * 1_000) / this.#perSecond);
  }

  isFull(nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#tokens >= this.#burst;
  }

  #refill(nowMs: number): void {
    const grown = (Math.max(0, nowMs - this.#atMs) * this.#perSecond) / 1_000;
    this.#tokens = Math.min(this.#burst, this.#tokens + grown);
    this.#atMs = nowMs;
  }
}
