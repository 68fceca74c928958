/** Operations that are cancelled together. Scopes form a tree; a shielded one is not reached from above. */
import { CancelledError } from './errors.ts';
import type { Operation } from './operation.ts';

export class Scope {
  readonly #shielded: boolean;
  readonly #children = new Set<Scope>();
  readonly #operations = new Set<Operation>();
  #reason: string | undefined;

  private constructor(shielded: boolean) {
    this.#shielded = shielded;
  }

  static root(): Scope {
    return new Scope(false);
  }

  /** A scope inside this one; unless shielded, born cancelled when this one is. */
  inner(shielded: boolean): Scope {
    const scope = new Scope(shielded);
    if (!shielded) scope.#reason = this.#reason;
    this.#children.add(scope);
    return scope;
  }

  /** The error of every operation that is called from now on, once cancelled. */
  get cancelled(): CancelledError | undefined {
    return this.#reason === undefined ? undefined : cancelledError(this.#reason);
  }

  /** Why it was cancelled; undefined: it was not. */
  get reason(): string | undefined {
    return this.#reason;
  }

  add(operation: Operation): void {
    this.#operations.add(operation);
  }

  delete(operation: Operation): void {
    this.#operations.delete(operation);
  }

  /** @returns the open operations that this cancels, in call order. */
  cancel(reason: string): Operation[] {
    if (this.#reason !== undefined) return [];
    this.#reason = reason;
    const below = [...this.#children].filter((child) => !child.#shielded);
    return [...this.#operations, ...below.flatMap((child) => child.cancel(reason))].toSorted(
      (a, b) => a.op - b.op,
    );
  }
}

export function cancelledError(reason: string): CancelledError {
  return new CancelledError(reason === '' ? 'cancelled' : `cancelled: ${reason}`);
}
