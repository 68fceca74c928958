/**
 * `serf agent` (memberlist: SWIM with Lifeguard) with its profile `lan`, as a member.
 *
 * Its ports are fixed: it needs a network of its own. What it knows is read from its log.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { installPackage } from '../apt.ts';
import type { Heard, Kind, Member } from './member.ts';

const PROGRAM = 'serf';
const HOST = '127.0.0.1';
const GOSSIP_PORT = 10_000;
const RPC_PORT = 20_000;
const EVENT = /serf: EventMember(Join|Failed|Leave): n(\d+) |memberlist: Suspect n(\d+) has failed/;
const READY = /agent: Serf agent starting/;

/** The first line of `serf version`, or undefined where it is not installed. */
export function serfVersion(): string | undefined {
  const { status, stdout } = spawnSync(PROGRAM, ['version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0]?.replace(/^Serf /, '') : undefined;
}

/** @throws Error why it cannot be installed */
export function installSerf(): void {
  installPackage('serf');
}

export function serf(): Kind {
  const { promise: isOpen, resolve: open } = Promise.withResolvers<void>();
  return { isOpen, member: (index, hear) => new Agent(index, hear, open) };
}

class Agent implements Member {
  readonly #index: number;
  readonly #hear: (of: Omit<Heard, 'atMs' | 'by'>) => void;
  readonly #open: () => void;
  pid: number | undefined;

  constructor(index: number, hear: (of: Omit<Heard, 'atMs' | 'by'>) => void, open: () => void) {
    this.#index = index;
    this.#hear = hear;
    this.#open = open;
  }

  /** A native program: it starts in no time. */
  async prepare(): Promise<void> {}

  join(): void {
    const args = [
      'agent',
      `-node=n${this.#index}`,
      `-bind=${HOST}:${GOSSIP_PORT + this.#index}`,
      `-rpc-addr=${HOST}:${RPC_PORT + this.#index}`,
      '-profile=lan',
      '-log-level=info',
      ...(this.#index > 0 ? [`-join=${HOST}:${GOSSIP_PORT}`] : []),
    ];
    const agent = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.pid = agent.pid;
    for (const output of [agent.stdout, agent.stderr])
      createInterface({ input: output }).on('line', (line) => this.#read(line));
  }

  #read(line: string): void {
    if (READY.test(line)) this.#open();
    const [, event, subject, suspect] = EVENT.exec(line) ?? [];
    if (suspect !== undefined) this.#hear({ who: Number(suspect), state: 'suspect' });
    else if (event !== undefined)
      this.#hear({ who: Number(subject), state: event === 'Join' ? 'alive' : 'dead' });
  }
}
