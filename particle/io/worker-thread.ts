/** The host's end of one guest worker: posts, and tells whether it still answers. */
import { Worker } from 'node:worker_threads';
import type { FromWorker, GuestProgram, ToWorker, WorkerBoot } from './protocol.ts';
import { sibling } from '../../spec/package-file.ts';

/** V8's heap of one worker: the glue and resources of its guests; their linear memory lies outside of it. */
const HEAP_MIB = 768;

export interface WorkerEvents {
  message(worker: WorkerThread, message: FromWorker): void;
  /** It is gone, by its own fault or because it was ended. Nothing comes from it any more. */
  gone(worker: WorkerThread, why: string): void;
}

export class WorkerThread {
  readonly id: number;
  /** Requests that it holds. */
  readonly held: Set<number> = new Set();
  isReady = false;
  /** It leaves messages unread. */
  isStalled = false;
  /** Somebody looks again soon whether it is stalled. */
  isWatched = false;
  readonly #thread: Worker;
  readonly #entered: Int32Array;
  readonly #loaded = new Set<number>();
  #isGone = false;

  constructor(id: number, events: WorkerEvents) {
    this.id = id;
    const boot: WorkerBoot = { entered: new SharedArrayBuffer(4) };
    this.#entered = new Int32Array(boot.entered);
    this.#thread = new Worker(sibling(import.meta.url, 'guest-worker'), {
      workerData: boot,
      env: {},
      execArgv: [],
      stdin: false,
      name: `guests-${id}`,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
    });
    let why = 'ended';
    this.#thread.on('message', (message: FromWorker) => {
      if (this.#isGone) return;
      events.message(this, message);
    });
    this.#thread.on('error', (error: Error) => {
      why = error.message;
    });
    this.#thread.on('exit', () => {
      this.#isGone = true;
      events.gone(this, why);
    });
  }

  /** The request whose guest was entered last. */
  get entered(): number {
    return Atomics.load(this.#entered, 0);
  }

  post(message: ToWorker): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#thread.postMessage(message);
  }

  /** Makes a program known to the worker, once. */
  load(revision: number, program: GuestProgram): void {
    if (this.#loaded.has(revision)) return;
    this.#loaded.add(revision);
    this.post({ kind: 'load', revision, program });
  }

  unload(revision: number): void {
    if (this.#loaded.delete(revision)) this.post({ kind: 'unload', revision });
  }

  /** Ends it whatever it does; what it has said and is not read yet is lost. */
  async end(): Promise<void> {
    this.#isGone = true;
    await this.#thread.terminate();
  }
}
