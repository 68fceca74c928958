/** Workflows that start by the calendar. Each schedule is a run of a workflow of the engine's own. */
import { AetherError } from '../spec/error.ts';
import type { Clock } from '../spec/clock.ts';
import { type Duration, durationMs } from '../spec/duration.ts';
import { checkChoice } from './core/choice.ts';
import type { AnyWorkflow } from './core/contract.ts';
import { AlreadyExistsError, NotFoundError } from './core/errors.ts';
import { argsHash } from './core/payload.ts';
import { isOpen } from './core/record.ts';
import {
  keepSchedule,
  type Overlap,
  type ScheduleRule,
  type ScheduleState,
  type ScheduleView,
  timesOf,
} from './core/schedule.ts';
import type { WorkflowHandle } from './handle.ts';
import type { Starter } from './io/starter.ts';
import { sha256 } from './io/system.ts';
import type { ListFilter, WorkflowSummary } from './options.ts';
import { type Registry, workflow } from './workflow.ts';

export interface Schedules {
  /**
   * The same again is once.
   *
   * @throws AlreadyExistsError when the id has another rule, NotFoundError, AetherError ERR_ENGINE_SCHEDULE
   */
  create(id: string, spec: ScheduleSpec): Promise<void>;
  /** What comes due in a pause is left out. */
  pause(id: string, note?: string): Promise<void>;
  resume(id: string, note?: string): Promise<void>;
  /** Starts a run now, whatever `overlap` says. @returns its workflow id */
  trigger(id: string): Promise<string>;
  /** Starts a run for each time, whatever `overlap` says; one that was started is not again. Both ends inclusive. @returns ids of the started runs. */
  backfill(id: string, from: number, to: number): Promise<string[]>;
  /** Runs that it started go on. */
  delete(id: string): Promise<void>;
  list(): AsyncIterable<ScheduleSummary>;
}

export interface ScheduleSummary {
  id: string;
  paused: boolean;
  note?: string;
  /** Of the times to come the first five, Unix ms; none while it is paused. */
  next: number[];
  /** Workflow id of the run started last. */
  last?: string;
  /** Why the last start was refused; absent when it was not. */
  lastError?: string;
}

export interface ScheduleSpec {
  /** Either this or `every`; see `core/cron.ts`. */
  cron?: string;
  /** Counted from the Unix epoch. */
  every?: Duration;
  /** Of `cron`. Default 'UTC'. */
  zone?: string;
  workflow: AnyWorkflow | string;
  input?: unknown;
  /** When the run before is open: leave out; start one when it ends; cancel it and start then; start. Default 'skip'. */
  overlap?: Overlap;
  /** How late a run may start, e.g. since no engine was open. Default '1h'. */
  catchup?: Duration;
  /** Each start is late by a random time below this. Default 0. */
  jitter?: Duration;
  paused?: boolean;
  note?: string;
}

export const scheduleWorkflow: AnyWorkflow = workflow('aether.schedule', keepSchedule);

const CATCHUP_MS = 3_600_000;
/** An update may meet the moment at which a schedule goes on as a new run. */
const TRIES = 5;

export interface SchedulesPorts {
  readonly clock: Clock;
  readonly registry: Registry;
  readonly starter: Starter;
  handle(workflowId: string): WorkflowHandle<unknown>;
  runs(filter: ListFilter): AsyncIterable<WorkflowSummary>;
}

export class WorkflowSchedules implements Schedules {
  readonly #ports: SchedulesPorts;

  constructor(ports: SchedulesPorts) {
    this.#ports = ports;
  }

  async create(id: string, spec: ScheduleSpec): Promise<void> {
    const rule = ruleOf(spec);
    const after = this.#ports.clock.nowMs();
    this.#ports.registry.latest(rule.workflow);
    if (timesOf(rule, after).next().done === true) throw refusal('it has no time to come');
    const { paused = false, note } = spec;
    const state: ScheduleState = {
      id,
      rule,
      paused,
      after,
      ...(note === undefined ? {} : { note }),
    };
    const options = { id: idOf(id), onConflict: 'fail', onClosed: 'restart' } as const;
    try {
      await this.#ports.starter.start(scheduleWorkflow.name, state, options, { isEndless: true });
    } catch (error) {
      if (!(error instanceof AlreadyExistsError)) throw error;
      const { rule: existing } = await this.#view(id);
      if (hashOf(existing) === hashOf(rule)) return;
      throw new AlreadyExistsError(`schedule "${id}" exists, with another rule`, {
        hint: 'delete it first, or choose another id',
        cause: error,
      });
    }
  }

  async pause(id: string, note?: string): Promise<void> {
    await this.#update(id, 'pause', note);
  }

  async resume(id: string, note?: string): Promise<void> {
    await this.#update(id, 'resume', note);
  }

  trigger(id: string): Promise<string> {
    return this.#update<string>(id, 'trigger');
  }

  backfill(id: string, from: number, to: number): Promise<string[]> {
    return this.#update<string[]>(id, 'backfill', { from, to });
  }

  async delete(id: string): Promise<void> {
    await this.#update(id, 'delete');
    await this.#ports.handle(idOf(id)).result();
  }

  async *list(): AsyncIterable<ScheduleSummary> {
    const filter: ListFilter = {
      name: scheduleWorkflow.name,
      status: ['running', 'sleeping', 'stuck'],
    };
    for await (const run of this.#ports.runs(filter)) {
      const id = run.id.slice(idOf('').length);
      const { paused, note, next, last, lastError } = await this.#view(id);
      yield {
        id,
        paused,
        ...(note === undefined ? {} : { note }),
        next,
        ...(last === undefined ? {} : { last }),
        ...(lastError === undefined ? {} : { lastError }),
      };
    }
  }

  #view(id: string): Promise<ScheduleView> {
    return this.#ports.handle(idOf(id)).query<ScheduleView>('view');
  }

  async #update<R>(id: string, name: string, argument?: unknown): Promise<R> {
    const handle = this.#ports.handle(idOf(id));
    for (let tries = 1; ; tries++) {
      try {
        return await handle.update<R>(name, argument);
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error;
        if (tries < TRIES && (await isThere(handle))) continue;
        throw new NotFoundError(`there is no schedule "${id}"`, { cause: error });
      }
    }
  }
}

async function isThere(handle: WorkflowHandle<unknown>): Promise<boolean> {
  try {
    return isOpen((await handle.describe()).status);
  } catch {
    return false;
  }
}

function idOf(id: string): string {
  return `${scheduleWorkflow.name}/${id}`;
}

function hashOf(rule: ScheduleRule): string {
  return argsHash(rule, 'rule of a schedule', sha256);
}

const OVERLAP = ['skip', 'buffer-one', 'cancel-other', 'allow-all'];

/** @throws AetherError ERR_ENGINE_SCHEDULE, ERR_DURATION */
function ruleOf(spec: ScheduleSpec): ScheduleRule {
  const { cron, every, zone = 'UTC', input, overlap = 'skip', catchup = CATCHUP_MS } = spec;
  if ((cron === undefined) === (every === undefined))
    throw refusal('it needs cron or every, not both');
  checkChoice('overlap', overlap, OVERLAP, 'ERR_ENGINE_SCHEDULE');
  const everyMs = every === undefined ? undefined : durationMs(every);
  if (everyMs === 0) throw refusal('every is 0');
  return {
    ...(cron === undefined ? {} : { cron }),
    ...(everyMs === undefined ? {} : { everyMs }),
    zone,
    workflow: typeof spec.workflow === 'string' ? spec.workflow : spec.workflow.name,
    input,
    overlap,
    catchupMs: durationMs(catchup),
    jitterMs: durationMs(spec.jitter ?? 0),
  };
}

function refusal(why: string): AetherError {
  return new AetherError(`not a schedule: ${why}`, { code: 'ERR_ENGINE_SCHEDULE' });
}
