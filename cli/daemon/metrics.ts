/** What a node counts, in the text form of Prometheus. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { Flow } from '../../datapath/index.ts';
import type { TransportCounts } from '../../ring/index.ts';

export interface MetricSources {
  /** Members by state. */
  members: () => Record<string, number>;
  epoch: () => number;
  transport: () => TransportCounts;
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
    transport(sources.transport, registers);
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

function transport(read: () => TransportCounts, registers: Registry[]): void {
  const count = <K extends string>(
    name: string,
    help: string,
    label: string,
    values: (counts: TransportCounts) => Record<K, number>,
  ): void => {
    const counter: Counter = new Counter({
      name,
      help,
      labelNames: [label],
      registers,
      collect: () => {
        counter.reset();
        for (const [key, value] of Object.entries<number>(values(read())))
          counter.inc({ [label]: key }, value);
      },
    });
  };
  count('aether_ring_received_total', 'Messages from peers', 'class', (of) => of.received);
  count(
    'aether_ring_over_rate_total',
    'Messages from peers above their rate: casts dropped, calls refused',
    'class',
    (of) => of.overRate,
  );
  count(
    'aether_ring_unsent_total',
    'Messages to peers that found a full queue or no connection',
    'class',
    (of) => of.unsent,
  );
  count(
    'aether_ring_refused_total',
    'Connections refused or closed for others, by reason',
    'reason',
    (of) => of.refused,
  );
  byState('aether_ring_links', 'Connections by state', () => read().open, registers);
  const queued: Gauge = new Gauge({
    name: 'aether_ring_queued_bytes',
    help: 'Bytes that wait to be sent to peers',
    registers,
    collect: () => queued.set(read().queuedBytes),
  });
  const tunnels: Gauge = new Gauge({
    name: 'aether_ring_relay_tunnels',
    help: 'Tunnels that this node carries for others',
    registers,
    collect: () => tunnels.set(read().relay.open),
  });
  const carried: Counter = new Counter({
    name: 'aether_ring_relay_bytes_total',
    help: 'Bytes that this node has passed on for others',
    registers,
    collect: () => {
      carried.reset();
      carried.inc(read().relay.bytes);
    },
  });
  const rests: Counter = new Counter({
    name: 'aether_ring_rests_total',
    help: 'Times that a peer above its rate was not read from for a while',
    registers,
    collect: () => {
      rests.reset();
      rests.inc(read().rests);
    },
  });
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
