/** What every command is given: where to say things, whom to ask, when to stop. */
import { ControlClient, defaultApis } from './io/control-client.ts';
import { EXIT } from './io/exit-code.ts';
import { Output } from './io/output.ts';

/** Options that every command has. */
export interface CommonOptions {
  json?: boolean;
  api?: string;
}

/** One Ctrl-C may come several times: from the terminal, through npm, through the script that started this. */
const SAME_SIGNAL_MS = 500;

export class Context {
  readonly out: Output;
  readonly #api: string | undefined;
  #interrupted: AbortController | undefined;

  constructor({ json = false, api }: CommonOptions) {
    this.#api = api;
    this.out = new Output({
      stdout: process.stdout,
      stderr: process.stderr,
      json,
      env: process.env,
    });
  }

  /** The node that `--api`, AETHER_API or the current folder names. @throws AetherError ERR_USAGE */
  get client(): ControlClient {
    const given = this.#api ?? (process.env['AETHER_API'] || undefined);
    return given === undefined
      ? new ControlClient(...defaultApis(process.cwd()))
      : new ControlClient(given);
  }

  /** Aborted by Ctrl-C; a second one ends the process at once. */
  get interrupted(): AbortSignal {
    if (this.#interrupted === undefined) {
      const controller = new AbortController();
      this.#interrupted = controller;
      let firstAt: number | undefined;
      process.on('SIGINT', () => {
        firstAt ??= Date.now();
        if (Date.now() - firstAt > SAME_SIGNAL_MS) process.exit(EXIT.interrupted);
        controller.abort();
      });
    }
    return this.#interrupted.signal;
  }

  /** All of standard input. */
  async stdin(): Promise<Uint8Array> {
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }
}
