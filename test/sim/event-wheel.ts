/**
 * What is due when, on a virtual clock of whole milliseconds: a hashed timer wheel (Varghese and Lauck, 1987) whose
 * entries are numbers in typed arrays, so that millions of events cost no objects.
 */
const SLOTS = 8_192;
const NONE = -1;

/** What an entry stands for: `kind` and two numbers are the caller's, as is the payload. */
export type Due = (kind: number, a: number, b: number, payload: unknown) => void;

export class EventWheel {
  nowMs = 0;
  readonly #heads = new Int32Array(SLOTS).fill(NONE);
  readonly #tails = new Int32Array(SLOTS).fill(NONE);
  #capacity = 1_024;
  #atMs = new Int32Array(this.#capacity);
  #kinds = new Uint8Array(this.#capacity);
  #as = new Int32Array(this.#capacity);
  #bs = new Int32Array(this.#capacity);
  #nexts = new Int32Array(this.#capacity);
  readonly #payloads: unknown[] = [];
  #free = NONE;
  #used = 0;

  /** @param atMs not before the next millisecond: an earlier one is put off until then. */
  add(atMs: number, kind: number, a: number, b: number, payload: unknown): void {
    const entry = this.#take();
    this.#atMs[entry] = Math.max(this.nowMs + 1, Math.ceil(atMs));
    this.#kinds[entry] = kind;
    this.#as[entry] = a;
    this.#bs[entry] = b;
    this.#payloads[entry] = payload;
    this.#append(entry);
  }

  /** Runs what is due up to the time, in the order of time and then of asking. */
  run(untilMs: number, due: Due): void {
    while (this.nowMs < untilMs) {
      this.nowMs++;
      const slot = this.nowMs % SLOTS;
      let entry = this.#heads[slot] as number;
      if (entry === NONE) continue;
      this.#heads[slot] = NONE;
      this.#tails[slot] = NONE;
      while (entry !== NONE) {
        const next = this.#nexts[entry] as number;
        if ((this.#atMs[entry] as number) > this.nowMs) this.#append(entry);
        else {
          const payload = this.#payloads[entry];
          this.#payloads[entry] = undefined;
          this.#nexts[entry] = this.#free;
          this.#free = entry;
          due(
            this.#kinds[entry] as number,
            this.#as[entry] as number,
            this.#bs[entry] as number,
            payload,
          );
        }
        entry = next;
      }
    }
  }

  #append(entry: number): void {
    const slot = (this.#atMs[entry] as number) % SLOTS;
    this.#nexts[entry] = NONE;
    const tail = this.#tails[slot] as number;
    if (tail === NONE) this.#heads[slot] = entry;
    else this.#nexts[tail] = entry;
    this.#tails[slot] = entry;
  }

  #take(): number {
    if (this.#free !== NONE) {
      const entry = this.#free;
      this.#free = this.#nexts[entry] as number;
      return entry;
    }
    if (this.#used === this.#capacity) this.#grow();
    return this.#used++;
  }

  #grow(): void {
    this.#capacity *= 2;
    const grown = <T extends Int32Array | Uint8Array>(old: T, larger: T): T => {
      larger.set(old);
      return larger;
    };
    this.#atMs = grown(this.#atMs, new Int32Array(this.#capacity));
    this.#kinds = grown(this.#kinds, new Uint8Array(this.#capacity));
    this.#as = grown(this.#as, new Int32Array(this.#capacity));
    this.#bs = grown(this.#bs, new Int32Array(this.#capacity));
    this.#nexts = grown(this.#nexts, new Int32Array(this.#capacity));
  }
}
