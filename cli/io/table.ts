/** Tables for people: columns as wide as their widest cell, two spaces between them, no frame. */

export interface Column<Row> {
  title: string;
  cell(row: Row): string;
  /** Numbers read better to the right. */
  align?: 'left' | 'right';
}

// oxlint-disable-next-line no-control-regex -- this is what colours are made of
const COLOUR = /\x1b\[[0-9;]*m/g;

/** Lines of a table, the titles first. Cells may be coloured; an empty table is its titles. */
export function table<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  paintTitle: (text: string) => string = (text) => text,
): string {
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...cells.map((line) => width(line[i] as string))),
  );
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, i) => {
        const padding = ' '.repeat((widths[i] as number) - width(text));
        return columns[i]?.align === 'right' ? padding + text : text + padding;
      })
      .join('  ')
      .trimEnd();
  const titles = columns.map(({ title }, i) =>
    paintTitle(
      columns[i]?.align === 'right'
        ? title.padStart(widths[i] as number)
        : title.padEnd(widths[i] as number),
    ),
  );
  return [line(titles), ...cells.map(line)].join('\n');
}

/** Characters on the screen, colours not counted. */
function width(text: string): number {
  return Array.from(text.replace(COLOUR, '')).length;
}
