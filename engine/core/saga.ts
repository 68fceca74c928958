/**
 * Undos of what a run has done, for when it fails or is cancelled (saga; Garcia-Molina and Salem, 1987).
 *
 * U1. They run one after another, the one added last first.
 * U2. What follows an undo that failed is not done, and is named: a later one may rely on it.
 */
import { AetherError } from '../../spec/error.ts';
import type { StepContext, StepOptions } from './contract.ts';

/** Compensation of something that was done. */
export interface Undo {
  readonly name: string;
  readonly fn: (step: StepContext) => void | Promise<void>;
  readonly options: StepOptions<void>;
}

export class Saga {
  readonly #undos: Undo[] = [];

  add(undo: Undo): void {
    this.#undos.push(undo);
  }

  /**
   * @param run carries one out as a step.
   * @param cause why it has come to this.
   * @throws AetherError ERR_ENGINE_COMPENSATION_FAILED with the names of what was not undone
   */
  async compensate(run: (undo: Undo) => Promise<unknown>, cause: unknown): Promise<void> {
    for (let undo = this.#undos.pop(); undo !== undefined; undo = this.#undos.pop()) {
      try {
        await run(undo);
      } catch (error) {
        const left = [undo.name, ...this.#undos.map((other) => other.name).toReversed()];
        throw new AetherError(`compensation failed: ${(error as Error).message}`, {
          code: 'ERR_ENGINE_COMPENSATION_FAILED',
          hint: `not undone: ${left.join(', ')}`,
          details: { notUndone: left },
          cause,
        });
      }
    }
  }
}
