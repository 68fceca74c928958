/**
 * A schedule is a workflow itself: its times are durable timers, what it starts are its children.
 *
 * H1. A time starts at most one run: the run's id is the schedule's and the time. So none fires twice over a restart.
 * H2. Times are worked out in steps: what was recorded holds, also when zone data changed since.
 */
import { AetherError } from '../../spec/error.ts';
import type { ChildHandle, WorkflowContext } from './contract.ts';
import { cronTimes, parseCron } from './cron.ts';
import { Zone } from './zone.ts';

export type Overlap = 'skip' | 'buffer-one' | 'cancel-other' | 'allow-all';

/** What a schedule does, as it is stored. */
export interface ScheduleRule {
  readonly cron?: string;
  readonly everyMs?: number;
  readonly zone: string;
  /** Name; each run takes the newest version. */
  readonly workflow: string;
  readonly input: unknown;
  readonly overlap: Overlap;
  readonly catchupMs: number;
  readonly jitterMs: number;
}

export interface ScheduleState {
  readonly id: string;
  readonly rule: ScheduleRule;
  paused: boolean;
  note?: string;
  /** Times up to this one are done with, Unix ms. */
  after: number;
  /** Workflow id of the run started last. */
  last?: string;
  /** The one of them that is not known to have ended. */
  running?: string;
  /** A time that waits for the end of `running`. */
  buffered?: number;
  /** Why the last start was refused; absent when it was not. */
  lastError?: string;
}

export interface ScheduleView {
  readonly rule: ScheduleRule;
  readonly paused: boolean;
  readonly note?: string;
  readonly next: number[];
  readonly last?: string;
  readonly lastError?: string;
}

/** Times that a step works out at once. */
const BATCH = 16;
const NEXT_SHOWN = 5;
/** Rounds after which the schedule goes on as a new run, so that its history stays short. */
const ROUNDS_MAX = 50;
const BACKFILL_MAX = 1_000;

const ONCE = { retry: { attempts: 1 } };

/** Times of a rule after `afterMs`, ascending. Intervals are counted from the Unix epoch. @throws AetherError ERR_ENGINE_SCHEDULE */
export function* timesOf(rule: ScheduleRule, afterMs: number): Generator<number> {
  const { cron, everyMs } = rule;
  if (cron !== undefined) return yield* cronTimes(parseCron(cron), new Zone(rule.zone), afterMs);
  if (everyMs === undefined) return undefined;
  for (let atMs = (Math.floor(afterMs / everyMs) + 1) * everyMs; ; atMs += everyMs) yield atMs;
}

function firstTimes(rule: ScheduleRule, afterMs: number, count: number): number[] {
  const times: number[] = [];
  for (const atMs of timesOf(rule, afterMs)) if (times.push(atMs) === count) break;
  return times;
}

/** Both ends inclusive. @throws AetherError ERR_ENGINE_SCHEDULE when they are more than `BACKFILL_MAX` */
function timesBetween(rule: ScheduleRule, fromMs: number, toMs: number): number[] {
  const times: number[] = [];
  for (const atMs of timesOf(rule, fromMs - 1)) {
    if (atMs > toMs || times.push(atMs) > BACKFILL_MAX) break;
  }
  if (times.length <= BACKFILL_MAX) return times;
  throw new AetherError(`there are more than ${BACKFILL_MAX} times in between`, {
    code: 'ERR_ENGINE_SCHEDULE',
    hint: 'backfill in parts',
  });
}

/** The body of the workflow that is a schedule. */
export async function keepSchedule(
  ctx: WorkflowContext<ScheduleState>,
  input: ScheduleState,
): Promise<void> {
  await new Schedule(ctx, input).run();
}

class Schedule {
  readonly #ctx: WorkflowContext<ScheduleState>;
  readonly #state: ScheduleState;
  #running: ChildHandle<unknown> | undefined;
  #times: number[] = [];
  /** Counts what the loop must look at again. */
  #changes = 0;
  #rounds = 0;
  #deleted = false;

  constructor(ctx: WorkflowContext<ScheduleState>, state: ScheduleState) {
    this.#ctx = ctx;
    this.#state = { ...state };
    ctx.onQuery('view', () => this.#view());
    ctx.onUpdate('pause', (note?: string) => this.#pause(true, note));
    ctx.onUpdate('resume', (note?: string) => this.#pause(false, note));
    ctx.onUpdate('trigger', () => this.#trigger());
    ctx.onUpdate('backfill', (range: { from: number; to: number }) => this.#backfill(range));
    ctx.onUpdate('delete', () => {
      this.#deleted = true;
      this.#changes++;
    });
  }

  async run(): Promise<void> {
    const { running } = this.#state;
    if (running !== undefined) await this.#attach(running);
    for (; this.#rounds < ROUNDS_MAX; this.#rounds++) {
      if (this.#deleted) return;
      await this.#round();
    }
    this.#ctx.continueAsNew(this.#state);
  }

  /** Goes on following the run that was open when the schedule went on as a new run. */
  async #attach(id: string): Promise<void> {
    delete this.#state.running;
    try {
      this.#follow(await this.#child(id));
    } catch {
      // It is not there any more, and nobody may start it now.
    }
  }

  async #round(): Promise<void> {
    const state = this.#state;
    if (state.buffered !== undefined && this.#running === undefined) {
      const due = state.buffered;
      delete state.buffered;
      return this.#startAt(due);
    }
    if (state.paused) return void (await this.#changed());
    const due = await this.#next();
    if (due === undefined) return void (await this.#changed());
    const delayMs = Math.floor(this.#ctx.random() * state.rule.jitterMs);
    const at = due + delayMs;
    if (at > this.#ctx.now() && (await this.#changed(at))) return undefined;
    this.#times.shift();
    state.after = due;
    const lateMs = this.#ctx.now() - at;
    return lateMs > state.rule.catchupMs ? undefined : this.#fire(due);
  }

  /** Waits until something else is to be done. @returns false when it is that time */
  #changed(until?: number): Promise<boolean> {
    const seen = this.#changes;
    return this.#ctx.condition(() => this.#changes !== seen, until === undefined ? {} : { until });
  }

  async #next(): Promise<number | undefined> {
    const { rule, after } = this.#state;
    if (this.#times.length === 0) {
      // What is too late to be caught up with is not even counted.
      const afterMs = Math.max(after, this.#ctx.now() - rule.catchupMs - 1);
      const seen = this.#changes;
      const times = await this.#ctx.step('times', () => firstTimes(rule, afterMs, BATCH));
      if (this.#changes === seen) this.#times = times;
      else return this.#next();
    }
    return this.#times[0];
  }

  async #fire(due: number): Promise<void> {
    const { overlap } = this.#state.rule;
    if (this.#running === undefined || overlap === 'allow-all') return this.#startAt(due);
    if (overlap === 'skip') return undefined;
    if (overlap === 'buffer-one') {
      this.#state.buffered ??= due;
      return undefined;
    }
    this.#state.buffered = due;
    // It may have ended by itself.
    return this.#running.cancel('the next one is due').catch(() => {});
  }

  /** Who may not start now, e.g. since its input is refused, may at the next time. */
  async #startAt(due: number): Promise<void> {
    const state = this.#state;
    try {
      await this.#start(`${state.id}/${new Date(due).toISOString()}`); // H1
      delete state.lastError;
    } catch (error) {
      state.lastError = (error as Error).message;
    }
  }

  async #start(id: string): Promise<string> {
    const child = await this.#child(id);
    this.#state.last = id;
    if (this.#state.rule.overlap !== 'allow-all') this.#follow(child);
    return id;
  }

  /** Starts a run of that id, or finds the one that was started. */
  #child(id: string): Promise<ChildHandle<unknown>> {
    const { workflow: name, input } = this.#state.rule;
    return this.#ctx.child({ name, version: '' }, input, {
      id,
      onConflict: 'use-existing',
      onClosed: 'use-existing',
      onParentClose: 'abandon',
    });
  }

  #follow(child: ChildHandle<unknown>): void {
    this.#running = child;
    this.#state.running = child.id;
    const ended = (): void => {
      if (this.#running !== child) return;
      this.#running = undefined;
      delete this.#state.running;
      if (this.#state.buffered !== undefined) this.#changes++;
    };
    child.result().then(ended, ended);
  }

  #pause(paused: boolean, note: string | undefined): void {
    const state = this.#state;
    // What was missed in a pause was not wanted.
    if (state.paused && !paused) state.after = Math.max(state.after, this.#ctx.now());
    state.paused = paused;
    if (note !== undefined) state.note = note;
    this.#times = [];
    this.#changes++;
  }

  async #trigger(): Promise<string> {
    const id = await this.#start(`${this.#state.id}/${this.#ctx.uuid()}`);
    if (++this.#rounds >= ROUNDS_MAX) this.#changes++;
    return id;
  }

  async #backfill({ from, to }: { from: number; to: number }): Promise<string[]> {
    const { rule, id } = this.#state;
    const times = await this.#ctx.step('backfill', () => timesBetween(rule, from, to), ONCE);
    const ids = times.map((atMs) => `${id}/${new Date(atMs).toISOString()}`);
    this.#rounds += ids.length;
    for (const one of ids) await this.#child(one);
    const last = ids.at(-1);
    if (last !== undefined) this.#state.last = last;
    this.#changes++;
    return ids;
  }

  #view(): ScheduleView {
    const { rule, paused, note, last, lastError, after } = this.#state;
    return {
      rule,
      paused,
      next: paused ? [] : firstTimes(rule, after, NEXT_SHOWN),
      ...(note === undefined ? {} : { note }),
      ...(last === undefined ? {} : { last }),
      ...(lastError === undefined ? {} : { lastError }),
    };
  }
}
