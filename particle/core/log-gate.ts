/**
 * Cuts a guest's output into lines and lets only so many through: a token bucket of lines, refilled by time.
 * What was dropped is told in one line as soon as there is room again.
 */
const LINES_PER_SECOND = 200;
const BURST_LINES = 1_000;
/** A longer line is cut, a line without an end is passed on at this length. */
const LINE_CHARS_MAX = 4_096;

export class LogGate {
  readonly #emit: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #partial = '';
  #tokens = BURST_LINES;
  #refilledMs: number;
  #dropped = 0;

  constructor(nowMs: number, emit: (line: string) => void) {
    this.#refilledMs = nowMs;
    this.#emit = emit;
  }

  write(chunk: Uint8Array, nowMs: number): void {
    const text = this.#partial + this.#decoder.decode(chunk, { stream: true });
    const lines = text.split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.line(line, nowMs);
    if (this.#partial.length >= LINE_CHARS_MAX) this.flush(nowMs);
  }

  /** Passes on an unfinished line. */
  flush(nowMs: number): void {
    if (this.#partial === '') return;
    this.line(this.#partial, nowMs);
    this.#partial = '';
  }

  /** Takes a whole line. */
  line(line: string, nowMs: number): void {
    const earned = ((nowMs - this.#refilledMs) * LINES_PER_SECOND) / 1_000;
    if (earned >= 1) {
      this.#tokens = Math.min(BURST_LINES, this.#tokens + Math.floor(earned));
      this.#refilledMs = nowMs;
    }
    if (this.#tokens < 1) {
      this.#dropped++;
      return;
    }
    if (this.#dropped > 0) {
      this.#emit(`(${this.#dropped} lines dropped: more than ${LINES_PER_SECOND} a second)`);
      this.#dropped = 0;
    }
    this.#tokens--;
    this.#emit(line.length > LINE_CHARS_MAX ? `${line.slice(0, LINE_CHARS_MAX)}…` : line);
  }
}
