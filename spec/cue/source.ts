/** A stretch of a source text: offsets in UTF-16 units, `end` excluded. */
export interface Span {
  start: number;
  end: number;
}

/** Both count from 1; a column is a UTF-16 unit, as editors count, and a tab is one. */
export interface Position {
  line: number;
  column: number;
}

const EXCERPT_CHARS_MAX = 100;
/** How much of a long line is shown in front of the place that is meant. */
const EXCERPT_LEAD_CHARS = 40;

/** A text with the name of its file: turns offsets into what people read. */
export class Source {
  readonly file: string;
  readonly text: string;
  #lineStarts: number[] | undefined;

  constructor(file: string, text: string) {
    this.file = file;
    this.text = text;
  }

  position(offset: number): Position {
    const starts = this.#starts();
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (starts[low] as number) + 1 };
  }

  /** The line of a span, or the part of it around the span, and below it carets under the span. */
  excerpt(span: Span): string {
    const starts = this.#starts();
    const { line } = this.position(span.start);
    const lineStart = starts[line - 1] as number;
    const lineEnd = (starts[line] ?? this.text.length + 1) - 1;
    const from = Math.max(lineStart, span.start - EXCERPT_LEAD_CHARS);
    const shown = this.text
      .slice(from, Math.min(lineEnd, from + EXCERPT_CHARS_MAX))
      .replaceAll(/\p{Cc}/gu, ' ')
      .trimEnd();
    const text = shown.trimStart();
    const before = Math.max(0, span.start - from - (shown.length - text.length));
    const width = Math.max(1, Math.min(span.end - span.start, text.length - before));
    return `${text}\n${' '.repeat(before)}${'^'.repeat(width)}`;
  }

  #starts(): number[] {
    if (this.#lineStarts === undefined) {
      this.#lineStarts = [0];
      for (let at = this.text.indexOf('\n'); at >= 0; at = this.text.indexOf('\n', at + 1)) {
        this.#lineStarts.push(at + 1);
      }
    }
    return this.#lineStarts;
  }
}
