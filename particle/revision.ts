import type { Particle } from '../spec/aetherfile/app.ts';
import type { Clock } from '../spec/clock.ts';
import { type GuestLimits, WAITING_MAX } from './core/limits.ts';
import { LogGate } from './core/log-gate.ts';
import { Residency } from './core/residency.ts';
import type { ComponentInfo } from './inspect.ts';
import type { Resident } from './io/guest-pool.ts';
import type { GuestProgram } from './io/protocol.ts';

/** Who says a line of a Particle's log; `host`: what the host has to say about it. */
export type LogStream = 'stdout' | 'stderr' | 'host';

/** One prepared revision of a Particle on this node. */
export class Revision implements Resident {
  readonly id: number;
  readonly app: string;
  readonly version: string;
  readonly particle: Particle;
  readonly info: ComponentInfo;
  readonly limits: GuestLimits;
  readonly residency: Residency;
  readonly isReused: boolean;
  readonly #tell: (stream: LogStream, line: string) => void;
  readonly #notes: LogGate;
  readonly #clock: Clock;
  program: GuestProgram;
  outbound = 0;
  requests = 0;
  failures = 0;
  lastUsedMs: number | undefined;
  failure: string | undefined;

  constructor(options: {
    id: number;
    app: string;
    version: string;
    particle: Particle;
    info: ComponentInfo;
    limits: GuestLimits;
    program: GuestProgram;
    idleMs: number;
    isReused: boolean;
    clock: Clock;
    tell: (stream: LogStream, line: string) => void;
  }) {
    this.id = options.id;
    this.app = options.app;
    this.version = options.version;
    this.particle = options.particle;
    this.info = options.info;
    this.limits = options.limits;
    this.program = options.program;
    this.#tell = options.tell;
    this.#clock = options.clock;
    this.#notes = new LogGate(options.clock.monotonicMs(), (line) => this.#tell('host', line));
    this.residency = new Residency({
      instancesMax: options.limits.instances,
      waitingMax: WAITING_MAX,
      idleMs: options.idleMs,
      isReused: options.isReused,
    });
    this.isReused = options.isReused;
  }

  log(stream: 'stdout' | 'stderr', line: string): void {
    this.#tell(stream, line);
  }

  note(line: string): void {
    this.#notes.line(line, this.#clock.monotonicMs());
  }
}
