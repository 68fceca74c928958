/**
 * What an engine counts, for Prometheus.
 *
 * G1. Labels are names of workflows and queues, states and outcomes: never an id, nor a name that a body makes up.
 * G2. Runs are counted once what is counted is durable; attempts, when they have ended.
 */
import {
  type Count,
  Counter,
  type Distribution,
  Gauge,
  Histogram,
  exposition,
} from '../core/exposition.ts';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600];
const COMMIT_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
const APPENDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
const BYTES = [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304];

export type AttemptOutcome = 'completed' | 'retried' | 'failed';

/** What is asked for when somebody reads. */
export interface MetricSources {
  readonly runsInMemory: () => number;
  readonly timers: () => number;
  readonly stuck: () => number;
  readonly quarantined: () => number;
  readonly queues: () => readonly { name: string; waiting: number; inFlight: number }[];
}

/** The series of one workflow. */
interface WorkflowSeries {
  readonly started: Count;
  readonly outcomes: Readonly<Record<AttemptOutcome, Count>>;
  readonly duration: Distribution;
  readonly waited: Distribution;
}

export class EngineMetrics {
  readonly #started = new Counter('aether_engine_runs_started_total', 'Runs begun', ['workflow']);
  readonly #closed = new Counter('aether_engine_runs_closed_total', 'Runs ended, by how', [
    'workflow',
    'status',
  ]);
  readonly #attempts = new Counter('aether_engine_step_attempts_total', 'Attempts of steps', [
    'workflow',
    'outcome',
  ]);
  readonly #durations = new Histogram(
    'aether_engine_step_duration_seconds',
    'Time that one attempt of a step took',
    SECONDS,
    ['workflow'],
  );
  readonly #waits = new Histogram(
    'aether_engine_step_schedule_to_start_seconds',
    'Time from when an attempt was due until it began',
    SECONDS,
    ['workflow'],
  );
  readonly #commits = new Histogram(
    'aether_engine_commit_duration_seconds',
    'Time that the store took for one commit',
    COMMIT_SECONDS,
  );
  readonly #appends = new Histogram(
    'aether_engine_commit_appends',
    'Appends that shared one commit',
    APPENDS,
  );
  readonly #history = new Counter('aether_engine_history_bytes_total', 'Bytes added to journals');
  readonly #payloads = new Histogram(
    'aether_engine_payload_bytes',
    'Bytes of one payload as JSON, before the codec',
    BYTES,
  );
  readonly #lateness = new Histogram(
    'aether_engine_timer_lateness_seconds',
    'How late a timer of a run fired, time without an engine included',
    SECONDS,
  );
  readonly #gauges: readonly Gauge[];
  readonly #byWorkflow = new Map<string, WorkflowSeries>();
  // Kept, since they are counted at every commit and payload.
  readonly #commit: Distribution = this.#commits.of();
  readonly #append: Distribution = this.#appends.of();
  readonly #bytes: Count = this.#history.of();
  readonly #payload: Distribution = this.#payloads.of();

  constructor(sources: MetricSources) {
    const queue = (read: 'waiting' | 'inFlight') => () =>
      sources.queues().map((one) => [{ queue: one.name }, one[read]] as const);
    const one = (read: () => number) => () => [[{}, read()] as const];
    this.#gauges = [
      new Gauge('aether_engine_runs_in_memory', 'Runs in memory', one(sources.runsInMemory)),
      new Gauge('aether_engine_runs_stuck', 'Runs whose body does not fit', one(sources.stuck)),
      new Gauge('aether_engine_runs_quarantined', 'Runs found damaged', one(sources.quarantined)),
      new Gauge('aether_engine_timers', 'Timers that are set', one(sources.timers)),
      new Gauge('aether_engine_queue_waiting', 'Runs that wait for a place', queue('waiting')),
      new Gauge('aether_engine_queue_in_flight', 'Runs that have a place', queue('inFlight')),
    ];
  }

  started(workflow: string): void {
    this.#of(workflow).started.value++;
  }

  closed(workflow: string, status: string): void {
    this.#closed.of(workflow, status).value++;
  }

  /** @param waitedMs since it was due */
  attemptBegan(workflow: string, waitedMs: number): void {
    this.#of(workflow).waited.observe(Math.max(0, waitedMs) / 1_000);
  }

  attemptEnded(workflow: string, outcome: AttemptOutcome, durationMs: number): void {
    const series = this.#of(workflow);
    series.outcomes[outcome].value++;
    series.duration.observe(durationMs / 1_000);
  }

  committed(appends: number, durationMs: number): void {
    this.#append.observe(appends);
    this.#commit.observe(durationMs / 1_000);
  }

  historyGrew(bytes: number): void {
    this.#bytes.value += bytes;
  }

  encoded(bytes: number): void {
    this.#payload.observe(bytes);
  }

  timerFired(lateMs: number): void {
    this.#lateness.of().observe(Math.max(0, lateMs) / 1_000);
  }

  /** Prometheus text exposition format 0.0.4. */
  render(): string {
    return exposition([
      this.#started,
      this.#closed,
      this.#attempts,
      this.#durations,
      this.#waits,
      this.#commits,
      this.#appends,
      this.#history,
      this.#payloads,
      this.#lateness,
      ...this.#gauges,
    ]);
  }

  #of(workflow: string): WorkflowSeries {
    let series = this.#byWorkflow.get(workflow);
    if (series === undefined) {
      const outcome = (name: AttemptOutcome): Count => this.#attempts.of(workflow, name);
      series = {
        started: this.#started.of(workflow),
        outcomes: {
          completed: outcome('completed'),
          retried: outcome('retried'),
          failed: outcome('failed'),
        },
        duration: this.#durations.of(workflow),
        waited: this.#waits.of(workflow),
      };
      this.#byWorkflow.set(workflow, series);
    }
    return series;
  }
}
