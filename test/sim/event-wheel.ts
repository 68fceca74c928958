/**
 * What is due when, on a virtual clock of whole milliseconds: a hashed timer wheel (Varghese and Lauck, 1987). What is due
 * at one time lies side by side as numbers, so that millions of events cost no objects and are read in the order of memory.
 */
const SLOTS = 8_192;
/** So many are announced before they are run. */
const AHEAD = 8;
/** Of an entry's numbers. */
const [AT_MS, KIND, A, B, WIDTH] = [0, 1, 2, 3, 4];

/** What an entry stands for: `kind` and two numbers are the caller's, as is the payload. */
export interface Due {
  run(kind: number, a: number, b: number, payload: unknown): void;
  /** It will be run soon: what it needs may be brought near. */
  soon(kind: number, a: number, b: number): void;
}

export class EventWheel {
  nowMs = 0;
  readonly #slots = Array.from<unknown, Slot | undefined>({ length: SLOTS }, () => undefined);
  readonly #empty: Slot[] = [];

  /** @param atMs not before the next millisecond: an earlier one is put off until then. */
  add(atMs: number, kind: number, a: number, b: number, payload: unknown): void {
    this.#append(Math.max(this.nowMs + 1, Math.ceil(atMs)), kind, a, b, payload);
  }

  /** Runs what is due up to the time, in the order of time and then of asking. */
  run(untilMs: number, due: Due): void {
    while (this.nowMs < untilMs) {
      this.nowMs++;
      const at = this.nowMs % SLOTS;
      const slot = this.#slots[at];
      if (slot === undefined) continue;
      this.#slots[at] = undefined;
      for (let first = 0; first < slot.size; first += AHEAD) this.#runSome(slot, first, due);
      slot.size = 0;
      this.#empty.push(slot);
    }
  }

  #runSome(slot: Slot, first: number, due: Due): void {
    const { numbers, payloads } = slot;
    const end = Math.min(first + AHEAD, slot.size) * WIDTH;
    for (let at = first * WIDTH; at < end; at += WIDTH)
      due.soon(numbers[at + KIND] as number, numbers[at + A] as number, numbers[at + B] as number);
    for (let at = first * WIDTH; at < end; at += WIDTH) {
      const atMs = numbers[at + AT_MS] as number;
      const kind = numbers[at + KIND] as number;
      const a = numbers[at + A] as number;
      const b = numbers[at + B] as number;
      const payload = payloads[at / WIDTH];
      if (payload !== undefined) payloads[at / WIDTH] = undefined;
      if (atMs > this.nowMs) this.#append(atMs, kind, a, b, payload);
      else due.run(kind, a, b, payload);
    }
  }

  #append(atMs: number, kind: number, a: number, b: number, payload: unknown): void {
    let slot = this.#slots[atMs % SLOTS];
    if (slot === undefined) {
      slot = this.#empty.pop() ?? new Slot();
      this.#slots[atMs % SLOTS] = slot;
    }
    slot.add(atMs, kind, a, b, payload);
  }
}

/** What is due at one time, or whole turns of the wheel later. */
class Slot {
  numbers = new Int32Array(64 * WIDTH);
  readonly payloads: unknown[] = [];
  size = 0;

  add(atMs: number, kind: number, a: number, b: number, payload: unknown): void {
    const place = this.size * WIDTH;
    if (place === this.numbers.length) {
      const numbers = new Int32Array(place * 2);
      numbers.set(this.numbers);
      this.numbers = numbers;
    }
    const { numbers } = this;
    numbers[place + AT_MS] = atMs;
    numbers[place + KIND] = kind;
    numbers[place + A] = a;
    numbers[place + B] = b;
    if (payload !== undefined || this.size >= this.payloads.length)
      this.payloads[this.size] = payload;
    this.size++;
  }
}
