/**
 * Makes runs, and brings them back from their journals.
 *
 * D1. What is not what was written is not replayed: the whole journal is checked first (core/journal.ts).
 * D2. A body that was found unfit in this process is not called again: its code is still the same.
 */
import type { AetherError } from '../../spec/error.ts';
import { type Outside, RunContext } from '../core/context.ts';
import { StoreCorruptError } from '../core/errors.ts';
import type { JournalEvent } from '../core/event.ts';
import { readEntries } from '../core/journal.ts';
import type { PayloadCodec } from '../core/payload.ts';
import type { RunRecord } from '../core/record.ts';
import { Run, type RunBody } from '../core/run.ts';
import type { RunIdentity } from '../core/run-ports.ts';
import type { Entry, Store } from '../store.ts';
import type { Registry } from '../workflow.ts';
import { type BodyGuard, exempt, guardBodies } from './strict.ts';
import { drainMicrotasks, sha256 } from './system.ts';

export interface RunLoaderOptions {
  readonly store: Store;
  readonly registry: Registry;
  readonly payloads: PayloadCodec;
  readonly historyEventsMax: number;
  /** Whether bodies are kept from asking the outside. */
  readonly strict: boolean;
}

export interface RunLoaderPorts {
  /** What bodies reach through their steps. */
  outside(): Outside;
  newRunId(): string;
}

/** What a run says to what holds it in memory. */
export interface RunHooks {
  /** Its body went on by itself, outside of any delivery. */
  readonly strayed: () => void;
  /** Span of what it does now, as a W3C traceparent. */
  readonly trace: () => string | undefined;
}

/** A journal that is whole, and the run that it is of, before it is replayed. */
export interface Loaded {
  readonly run: Run;
  readonly recorded: readonly JournalEvent[];
  readonly historyBytes: number;
  readonly last: Pick<Entry, 'index' | 'hash'>;
}

export class RunLoader {
  readonly #options: RunLoaderOptions;
  readonly #ports: RunLoaderPorts;
  /** Runs whose body was found unfit in this process, and why. */
  readonly #unfit = new Map<string, AetherError>();
  #guard: BodyGuard | undefined;

  constructor(options: RunLoaderOptions, ports: RunLoaderPorts) {
    this.#options = options;
    this.#ports = ports;
  }

  open(): void {
    if (this.#options.strict) this.#guard = guardBodies();
  }

  close(): void {
    this.#guard?.release();
  }

  /** A run that has no event yet. */
  create(identity: RunIdentity, hooks: RunHooks): Run {
    const { registry, payloads, historyEventsMax } = this.#options;
    const body: RunBody = async (run, scope, input) => {
      const definition = registry.exact(identity.name, identity.version);
      return definition.body(new RunContext<unknown>(run, scope, this.#ports.outside()), input);
    };
    return new Run(identity, body, {
      drain: drainMicrotasks,
      digest: sha256,
      payloads,
      historyEventsMax,
      newRunId: () => exempt(() => this.#ports.newRunId()),
      ...(this.#guard === undefined ? {} : { enter: this.#guard.enter }),
      refusal: () => this.#unfit.get(identity.runId) ?? registry.missing(identity), // D2
      trace: hooks.trace,
      onStray: () => exempt(hooks.strayed),
    });
  }

  /** @throws StoreCorruptError */
  async load(record: RunRecord, hooks: RunHooks): Promise<Loaded> {
    const { workflowId, runId, name, version, why } = record;
    if (version === '' && why !== undefined) throw new StoreCorruptError(why.message);
    const entries = await this.#options.store.read({ runId });
    const recorded = readEntries(runId, entries, sha256); // D1
    const last = entries.at(-1);
    if (last === undefined) throw new StoreCorruptError(`run ${runId}: its journal is gone`);
    const run = this.create({ workflowId, runId, name, version }, hooks);
    const historyBytes = entries.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
    return { run, recorded, historyBytes, last: { index: last.index, hash: last.hash } };
  }

  /** Its body is not called again in this process. @returns whether that is news */
  unfit(runId: string, why: AetherError): boolean {
    const isNew = !this.#unfit.has(runId);
    this.#unfit.set(runId, why);
    return isNew;
  }

  get unfitCount(): number {
    return this.#unfit.size;
  }

  /** The run has ended. */
  forget(runId: string): void {
    this.#unfit.delete(runId);
  }
}
