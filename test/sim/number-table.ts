const WIDTH = 8;

/** Rows of up to eight numbers, each in one cache line: boxed numbers of objects would lie in several. */
export class NumberTable {
  readonly #numbers: Float64Array;

  /** @param row what each row is at first. */
  constructor(rows: number, row: readonly number[]) {
    this.#numbers = new Float64Array(rows * WIDTH);
    for (let at = 0; at < rows; at++) this.#numbers.set(row, at * WIDTH);
  }

  get(row: number, column: number): number {
    return this.#numbers[row * WIDTH + column] as number;
  }

  set(row: number, column: number, value: number): void {
    this.#numbers[row * WIDTH + column] = value;
  }
}
