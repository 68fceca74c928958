/**
 * A node's sink: where effects of workflows are applied, and the log that proves how often.
 *
 * K1. An effect of one step (workflow, step) is applied at most once here: its row is written after it was applied, and a
 *     step that asks again gets the recorded result. An effect that is cut off between the two is applied again, so each
 *     must be safe to repeat.
 * K2. Once a ballot was seen for a workflow, a lower one is refused. Ballots order as text (engine `Store`).
 */
import Database from 'better-sqlite3';
import { AetherError } from '../../spec/error.ts';
import type { Clock } from '../../spec/clock.ts';
import type { Effect, Fence } from './effect.ts';

/** The asking owner is stale. Nothing was done. */
export class StaleOwnerError extends AetherError {
  static override readonly code = 'ERR_SINK_FENCED';
}

/** One applied effect. */
export interface EffectRow {
  workflow: string;
  step: string;
  name: string;
  kind: string;
  ballot: string;
  at: number;
  /** How often the step asked; above 1, it was cut off before it could record the answer. */
  deliveries: number;
}

export class EffectSink {
  readonly #database: Database.Database;
  readonly #clock: Clock;
  readonly #running = new Map<string, Promise<unknown>>();

  /** @param path a SQLite file, created when missing. */
  constructor(path: string, clock: Clock) {
    this.#database = new Database(path);
    this.#clock = clock;
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = FULL');
    this.#database.exec(`
      CREATE TABLE IF NOT EXISTS effects (
        workflow TEXT NOT NULL, step TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, ballot TEXT NOT NULL,
        at INTEGER NOT NULL, deliveries INTEGER NOT NULL, result TEXT NOT NULL, PRIMARY KEY (workflow, step)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS ballots (workflow TEXT PRIMARY KEY, ballot TEXT NOT NULL) STRICT, WITHOUT ROWID;`);
  }

  /**
   * Applies an effect, or returns what it returned before (K1).
   *
   * @throws StaleOwnerError (K2), or what `perform` throws: then no row was written.
   */
  async apply(fence: Fence, effect: Effect, perform: () => Promise<unknown>): Promise<unknown> {
    this.#raiseBallot(fence);
    const id = `${fence.workflow}\0${fence.step}`;
    const running = this.#running.get(id);
    if (running !== undefined) return running;
    const recorded = this.#database
      .prepare<[string, string], { result: string }>(
        'UPDATE effects SET deliveries = deliveries + 1 WHERE workflow = ? AND step = ? RETURNING result',
      )
      .get(fence.workflow, fence.step);
    if (recorded !== undefined) return JSON.parse(recorded.result);
    const run = this.#perform(fence, effect, perform).finally(() => this.#running.delete(id));
    this.#running.set(id, run);
    return run;
  }

  /** Applied effects, of one workflow or all, in the order in which they were applied. */
  log(workflow?: string): EffectRow[] {
    const columns = 'workflow, step, name, kind, ballot, at, deliveries';
    return workflow === undefined
      ? this.#database
          .prepare<[], EffectRow>(`SELECT ${columns} FROM effects ORDER BY at, workflow, step`)
          .all()
      : this.#database
          .prepare<[string], EffectRow>(
            `SELECT ${columns} FROM effects WHERE workflow = ? ORDER BY at, step`,
          )
          .all(workflow);
  }

  close(): void {
    this.#database.close();
  }

  async #perform(fence: Fence, effect: Effect, perform: () => Promise<unknown>): Promise<unknown> {
    const result = (await perform()) ?? null;
    this.#database
      .prepare('INSERT INTO effects VALUES (?, ?, ?, ?, ?, ?, 1, ?)')
      .run(
        fence.workflow,
        fence.step,
        fence.name,
        effect.kind,
        fence.ballot,
        this.#clock.nowMs(),
        JSON.stringify(result),
      );
    return result;
  }

  #raiseBallot(fence: Fence): void {
    const seen = this.#database
      .prepare<[string], { ballot: string }>('SELECT ballot FROM ballots WHERE workflow = ?')
      .get(fence.workflow)?.ballot;
    if (seen !== undefined && fence.ballot < seen) {
      throw new StaleOwnerError(
        `${fence.name}: ballot ${fence.ballot} of ${fence.workflow} is behind ${seen}`,
        { hint: 'another owner went on with this workflow; this one stops' },
      );
    }
    if (seen === fence.ballot) return;
    this.#database
      .prepare(
        'INSERT INTO ballots VALUES (?, ?) ON CONFLICT (workflow) DO UPDATE SET ballot = excluded.ballot',
      )
      .run(fence.workflow, fence.ballot);
  }
}
