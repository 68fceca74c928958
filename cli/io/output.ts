/** What a command says: data on stdout, talk on stderr, errors in one form; all of it as JSON where asked for. */
import pc from 'picocolors';
import { type Diagnostic, formatDiagnostics } from '../../spec/cue/diagnostic.ts';
import { AetherError, errorBody } from '../../spec/error.ts';

/** The part of a stream that is written to. */
export interface TextSink {
  write(chunk: string | Uint8Array): unknown;
  readonly isTTY?: boolean;
}

export interface OutputOptions {
  stdout: TextSink;
  stderr: TextSink;
  json: boolean;
  env: Record<string, string | undefined>;
}

/** Every refusal is an AetherError; what is none was not foreseen. */
const DEFECT = 'this is a defect of aether; AETHER_DEBUG=1 shows where';

type Colors = ReturnType<typeof pc.createColors>;

export class Output {
  readonly json: boolean;
  /** Colours for stdout and for stderr: each only where it is a terminal and NO_COLOR is not set. */
  readonly paint: Colors;
  readonly paintTalk: Colors;
  readonly #stdout: TextSink;
  readonly #stderr: TextSink;
  readonly #debug: boolean;

  constructor({ stdout, stderr, json, env }: OutputOptions) {
    this.json = json;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#debug = Boolean(env['AETHER_DEBUG']);
    this.paint = pc.createColors(!json && wantsColor(stdout, env));
    this.paintTalk = pc.createColors(wantsColor(stderr, env));
  }

  /** The result of a command: `value` as one JSON document, or else the text made for people. */
  result(value: unknown, text: () => string): void {
    this.line(this.json ? JSON.stringify(value) : text());
  }

  /** One line of data. */
  line(text: string): void {
    this.#stdout.write(`${text}\n`);
  }

  /** Bytes as they are. */
  bytes(value: Uint8Array): void {
    this.#stdout.write(value);
  }

  /** Talk: progress, what to do next. */
  say(text: string): void {
    this.#stderr.write(`${text}\n`);
  }

  /**
   * An error: `error CODE: why` and `hint: what to do` on stderr, or `{"error":{…}}` on stdout. One about an
   * Aetherfile shows each place instead.
   */
  error(error: unknown): void {
    const body = errorBody(error);
    if (this.json) {
      this.line(JSON.stringify({ error: body }));
      return;
    }
    const diagnostics = diagnosticsOf(body.details);
    if (diagnostics !== undefined) {
      this.say(formatDiagnostics(diagnostics));
      return;
    }
    const hint = body.hint ?? (AetherError.is(error) ? undefined : DEFECT);
    this.say(`${this.paintTalk.red(`error ${body.code}:`)} ${body.message}`);
    if (hint !== undefined) this.say(`${this.paintTalk.cyan('hint:')} ${hint}`);
    if (this.#debug && error instanceof Error) this.say(error.stack ?? '');
  }
}

/** What is wrong with an Aetherfile, whether it was read here or by a node. */
function diagnosticsOf(details: unknown): Diagnostic[] | undefined {
  const { diagnostics } = (details ?? {}) as { diagnostics?: unknown };
  return Array.isArray(diagnostics) ? diagnostics : undefined;
}

/** See no-color.org and force-color.org. */
function wantsColor(sink: TextSink, env: OutputOptions['env']): boolean {
  if (env['NO_COLOR']) return false;
  if (env['FORCE_COLOR'] !== undefined) return env['FORCE_COLOR'] !== '0';
  return sink.isTTY === true && env['TERM'] !== 'dumb';
}
