/** What is wrong with a text, where, and what to do about it. */
import { AetherError } from '../error.ts';
import type { Source, Span } from './source.ts';

/** Plain data: it travels in the details of an error. */
export interface Diagnostic {
  /** Stable, `ERR_CUE_…` or `ERR_AETHERFILE_…`. */
  code: string;
  /** Which value, such as `particles.web.grants[0].bucket`; empty where none is known. */
  path: string;
  message: string;
  file: string;
  line: number;
  column: number;
  /** The line and, below it, carets under the place. */
  excerpt: string;
  help: string;
}

/** Labels and indices that lead to a value. */
export type Path = readonly (string | number)[];

/** A diagnostic before it is told which source it is about. */
export interface Fault {
  code: string;
  path: Path;
  message: string;
  at: Span;
  help: string;
}

/** A text that is no CUE, is CUE that is not read, or passes a limit. Nothing of it was used. */
export class CueError extends AetherError {
  static override readonly code: string = 'ERR_CUE_SYNTAX';

  readonly diagnostics: readonly Diagnostic[];

  /** @param diagnostics at least one; the first gives the message and, where none is named, the code */
  constructor(diagnostics: readonly Diagnostic[], code?: string) {
    const first = diagnostics[0] as Diagnostic;
    const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more)` : '';
    const path = first.path === '' ? '' : `${first.path}: `;
    super(`${first.file}:${first.line}:${first.column}: ${path}${first.message}${more}`, {
      code: code ?? first.code,
      hint: first.help,
      details: { diagnostics },
    });
    this.diagnostics = diagnostics;
  }
}

/** @throws CueError always, with one diagnostic */
export function refuse(
  source: Source,
  code:
    | 'ERR_CUE_SYNTAX'
    | 'ERR_CUE_UNSUPPORTED'
    | 'ERR_CUE_LIMIT'
    | 'ERR_CUE_CONFLICT'
    | 'ERR_CUE_REFERENCE',
  at: Span,
  message: string,
  help: string,
): never {
  throw new CueError([diagnose(source, { code, path: [], message, at, help })]);
}

export function diagnose(source: Source, fault: Fault): Diagnostic {
  const { code, path, message, at, help } = fault;
  const { line, column } = source.position(at.start);
  return {
    code,
    path: pathText(path),
    message,
    file: source.file,
    line,
    column,
    excerpt: source.excerpt(at),
    help,
  };
}

/** A path as CUE writes it: `particles."web-api".grants[0]`. */
function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? labelText(step) : `.${labelText(step)}`;
  }
  return text;
}

/** A label is as long as its author likes; a message is not. */
const LABEL_CHARS_MAX = 64;

/** A label as CUE writes it: `web`, `"web-api"`. */
export function labelText(label: string): string {
  const text = label.length > LABEL_CHARS_MAX ? `${label.slice(0, LABEL_CHARS_MAX)}…` : label;
  return /^[A-Za-z_$][\w$]*$/.test(text) ? text : JSON.stringify(text);
}

/** Diagnostics as a terminal shows them, each with its place, its line and its help. */
export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return diagnostics.map(format).join('\n\n');
}

function format({ code, path, message, file, line, column, excerpt, help }: Diagnostic): string {
  const [text = '', carets = ''] = excerpt.split('\n');
  const place = `  ${file}:${line}:${column}   `;
  return [
    `error[${code}] ${path === '' ? '' : `${path}: `}${message}`,
    `${place}${text}`,
    `${' '.repeat(place.length)}${carets}`,
    `  help: ${help}`,
  ].join('\n');
}
