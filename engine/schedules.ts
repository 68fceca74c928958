import { NotAvailableError } from '../spec/error.ts';
import type { Duration } from '../spec/duration.ts';
import type { AnyWorkflow } from './core/contract.ts';

/** Workflows that start by the calendar. Not available in this release. */
export interface Schedules {
  create(id: string, spec: ScheduleSpec): Promise<void>;
  pause(id: string, note?: string): Promise<void>;
  resume(id: string, note?: string): Promise<void>;
  trigger(id: string): Promise<string>;
  /** Both ends inclusive. @returns ids of the started runs. */
  backfill(id: string, from: number, to: number): Promise<string[]>;
  delete(id: string): Promise<void>;
  list(): AsyncIterable<{
    id: string;
    paused: boolean;
    note?: string;
    next: number[];
    last?: string;
  }>;
}

export interface ScheduleSpec {
  cron?: string;
  every?: Duration;
  zone?: string;
  workflow: AnyWorkflow | string;
  input?: unknown;
  overlap?: 'skip' | 'buffer-one' | 'cancel-other' | 'allow-all';
  catchup?: Duration;
  jitter?: Duration;
  paused?: boolean;
  note?: string;
}

function refuse(): never {
  throw new NotAvailableError('schedules are not available yet', {
    hint: 'start a workflow that sleeps between its rounds and ends with ctx.continueAsNew',
  });
}

export const unavailableSchedules: Schedules = {
  create: async () => refuse(),
  pause: async () => refuse(),
  resume: async () => refuse(),
  trigger: async () => refuse(),
  backfill: async () => refuse(),
  delete: async () => refuse(),
  list: () => refuse(),
};
