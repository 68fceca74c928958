/**
 * The operations of a run that have not settled, and what the shell must do about them after a turn of the body.
 *
 * O1. An operation settles once: it is forgotten with the settling, and whatever comes for it later finds nothing.
 * O2. What began and settled within one turn is not begun outside.
 */
import type { AetherError } from '../../spec/error.ts';
import type { CancelledError } from './errors.ts';
import type { Operation } from './operation.ts';
import type { Advance } from './run-ports.ts';

export class Operations {
  readonly #open = new Map<number, Operation>();
  readonly #conditions = new Set<Operation>();
  readonly #left: (operation: Operation) => void;
  #begun: Operation[] = [];
  #aborted: Operation[] = [];
  #ended: number[] = [];

  /** @param left is told of each that settles, before who waits for it. */
  constructor(left: (operation: Operation) => void) {
    this.#left = left;
  }

  get size(): number {
    return this.#open.size;
  }

  get(op: number): Operation | undefined {
    return this.#open.get(op);
  }

  [Symbol.iterator](): Iterator<Operation> {
    return this.#open.values();
  }

  /** @param isNew whether the shell has to begin it; not while a journal is replayed */
  add(operation: Operation, isNew: boolean): void {
    this.#open.set(operation.op, operation);
    operation.scope.add(operation);
    if (operation.predicate !== undefined) this.#conditions.add(operation);
    if (isNew) this.#begun.push(operation);
  }

  /** Without an outcome, who waits for it waits for ever. */
  settle(
    operation: Operation,
    outcome?: { value: unknown } | { error: AetherError | Error },
  ): void {
    this.#open.delete(operation.op); // O1
    if (operation.fireAt !== undefined) this.#ended.push(operation.op);
    operation.scope.delete(operation);
    this.#conditions.delete(operation);
    this.#left(operation);
    if (outcome === undefined) return;
    if ('error' in outcome) operation.reject(outcome.error);
    else operation.resolve(outcome.value);
  }

  /** A step is told, and waited for unless it is abandoned; anything else ends at once. */
  cancel(operation: Operation, error: CancelledError): void {
    const waits = operation.step !== undefined && operation.step.options.onCancel !== 'abandon';
    operation.cancelled = error;
    if (!waits) this.settle(operation, { error });
    if (operation.step !== undefined) this.#aborted.push(operation);
  }

  /** Steps in flight that could be undone are told to end. Resolves when they have: what they did is known then. */
  async stopCompensable(why: CancelledError): Promise<void> {
    const steps = [...this.#open.values()].filter(
      ({ step }) => step?.options.compensate !== undefined,
    );
    for (const step of steps) if (step.cancelled === undefined) this.cancel(step, why);
    if (steps.length > 0) await Promise.allSettled(steps.map((step) => step.promise));
  }

  /** Settles the first condition that holds. @returns whether there was one. */
  wakeCondition(): boolean {
    for (const operation of this.#conditions) {
      try {
        if (operation.predicate?.() !== true) continue;
        this.settle(operation, { value: true });
      } catch (error) {
        this.settle(operation, { error: error as Error });
      }
      return true;
    }
    return false;
  }

  /** All that are open are to be begun, and nothing else: the journal was replayed to its end. */
  resume(): void {
    this.#begun = [...this.#open.values()];
    this.#aborted = [];
    this.#ended = [];
  }

  /** None settles any more. With `abort`, steps in flight are told. */
  drop({ abort }: { abort: boolean }): void {
    for (const operation of this.#open.values()) {
      if (abort && operation.step !== undefined) this.#aborted.push(operation);
    }
    this.#ended.push(...this.#open.keys());
    this.#open.clear();
    this.#conditions.clear();
    this.#begun = [];
  }

  /** What came of them since the last time. */
  take(): Omit<Advance, 'events'> {
    const begun = this.#begun.filter((one) => this.#open.has(one.op)); // O2
    const taken = { begun, aborted: this.#aborted, ended: this.#ended };
    this.#begun = [];
    this.#aborted = [];
    this.#ended = [];
    return taken;
  }
}
