/**
 * The thread of membership of this process: begun by the first node in it, shared by all, ended with the last.
 *
 * One that ends by itself takes the membership of all of them along; who needs it again begins the next.
 */
import { Worker } from 'node:worker_threads';
import { sibling } from '../../spec/package-file.ts';

/** V8's heap of the thread: views of ten thousand members are some tens of MiB. */
const HEAP_MIB = 256;
/** Short-lived objects of a thread that does little; more is memory that nothing gains by. */
const YOUNG_MIB = 8;

export class SwimHost {
  static #current: SwimHost | undefined;

  readonly thread: Worker;
  /** What ended it, when it ended by itself. */
  failure: unknown;
  #users = 0;

  private constructor() {
    this.thread = new Worker(sibling(import.meta.url, 'swim-worker'), {
      env: {},
      execArgv: [],
      stdin: false,
      name: 'membership',
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB, maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.thread.on('error', (error) => (this.failure = error));
    this.thread.on('exit', () => this.#over());
  }

  /** It loads its code and waits: begun early, it is ready by the time that it is needed. To be released once. */
  static use(): SwimHost {
    SwimHost.#current ??= new SwimHost();
    SwimHost.#current.#users++;
    return SwimHost.#current;
  }

  async release(): Promise<void> {
    this.#users--;
    if (this.#users > 0) return;
    this.#over();
    await this.thread.terminate();
  }

  #over(): void {
    if (SwimHost.#current === this) SwimHost.#current = undefined;
  }
}
