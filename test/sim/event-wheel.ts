/**
 * What is due when, on a virtual clock of whole milliseconds: a hashed timer wheel (Varghese and Lauck, 1987) whose
 * entries are numbers in one typed array, so that millions of events cost no objects and each lies in one cache line.
 */
const SLOTS = 8_192;
const NONE = -1;
/** Places of an entry's numbers; of eight, so that no entry lies in two cache lines. */
const [AT_MS, NEXT, KIND, A, B, WIDTH] = [0, 1, 2, 3, 4, 8];

/** What an entry stands for: `kind` and two numbers are the caller's, as is the payload. */
export type Due = (kind: number, a: number, b: number, payload: unknown) => void;

export class EventWheel {
  nowMs = 0;
  readonly #heads = new Int32Array(SLOTS).fill(NONE);
  readonly #tails = new Int32Array(SLOTS).fill(NONE);
  #entries = new Int32Array(1_024 * WIDTH);
  readonly #payloads: unknown[] = [];
  #free = NONE;
  #used = 0;

  /** @param atMs not before the next millisecond: an earlier one is put off until then. */
  add(atMs: number, kind: number, a: number, b: number, payload: unknown): void {
    const entry = this.#take();
    const entries = this.#entries;
    const place = entry * WIDTH;
    entries[place + AT_MS] = Math.max(this.nowMs + 1, Math.ceil(atMs));
    entries[place + KIND] = kind;
    entries[place + A] = a;
    entries[place + B] = b;
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
        const entries = this.#entries;
        const place = entry * WIDTH;
        const next = entries[place + NEXT] as number;
        if ((entries[place + AT_MS] as number) > this.nowMs) this.#append(entry);
        else {
          const payload = this.#payloads[entry];
          this.#payloads[entry] = undefined;
          entries[place + NEXT] = this.#free;
          this.#free = entry;
          due(
            entries[place + KIND] as number,
            entries[place + A] as number,
            entries[place + B] as number,
            payload,
          );
        }
        entry = next;
      }
    }
  }

  #append(entry: number): void {
    const entries = this.#entries;
    const slot = (entries[entry * WIDTH + AT_MS] as number) % SLOTS;
    entries[entry * WIDTH + NEXT] = NONE;
    const tail = this.#tails[slot] as number;
    if (tail === NONE) this.#heads[slot] = entry;
    else entries[tail * WIDTH + NEXT] = entry;
    this.#tails[slot] = entry;
  }

  #take(): number {
    if (this.#free !== NONE) {
      const entry = this.#free;
      this.#free = this.#entries[entry * WIDTH + NEXT] as number;
      return entry;
    }
    if (this.#used * WIDTH === this.#entries.length) {
      const entries = new Int32Array(this.#entries.length * 2);
      entries.set(this.#entries);
      this.#entries = entries;
    }
    return this.#used++;
  }
}
