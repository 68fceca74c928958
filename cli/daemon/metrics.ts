/** What a node counts, in the text form of Prometheus. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Flow } from '../../datapath/index.ts';

export interface MetricSources {
  /** Members by state. */
  members: () => Record<string, number>;
  epoch: () => number;
  /** Instances by state. */
  instances: () => Record<string, number>;
  /** What the engine counts, in the same text form. */
  engine: () => string;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #engine: () => string;
  readonly #exchanges: Counter<'from' | 'to' | 'verdict' | 'status'>;
  readonly #durations: Histogram<'to'>;

  constructor(sources: MetricSources) {
    const registers = [this.#registry];
    this.#engine = sources.engine;
    collectDefaultMetrics({ register: this.#registry });
    this.#exchanges = new Counter({
      name: 'aether_exchanges_total',
      help: 'Exchanges with Particles by caller, callee, verdict and HTTP status (0: no answer)',
      labelNames: ['from', 'to', 'verdict', 'status'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'aether_exchange_duration_seconds',
      help: 'Time from the dial of an exchange to its answer',
      labelNames: ['to'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    });
    byState('aether_members', 'Members of the lattice by state', sources.members, registers);
    byState('aether_instances', 'Particles on this node by state', sources.instances, registers);
    const epoch: Gauge = new Gauge({
      name: 'aether_ring_epoch',
      help: 'Number of the ring epoch that this node uses',
      registers,
      collect: () => epoch.set(sources.epoch()),
    });
  }

  observe(flow: Flow): void {
    const { from, to, verdict, status, durationMs } = flow;
    this.#exchanges.inc({ from, to, verdict, status: String(status) });
    this.#durations.observe({ to }, durationMs / 1_000);
  }

  async render(): Promise<{ contentType: string; text: string }> {
    const text = (await this.#registry.metrics()) + this.#engine();
    return { contentType: this.#registry.contentType, text };
  }
}

function byState(
  name: string,
  help: string,
  read: () => Record<string, number>,
  registers: Registry[],
): void {
  const gauge: Gauge<'state'> = new Gauge({
    name,
    help,
    labelNames: ['state'],
    registers,
    collect: () => {
      gauge.reset();
      for (const [state, count] of Object.entries(read())) gauge.set({ state }, count);
    },
  });
}
