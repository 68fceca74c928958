/**
 * `serf agent` (memberlist: SWIM with Lifeguard) with its profile `lan`, as a member.
 *
 * Its ports are fixed: it needs a network of its own. What it knows is read from its log, and it is told to join by its
 * RPC: msgpack, a header and a body for each command.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { encode } from '../../ring/core/codec.ts';
import { installPackage } from '../apt.ts';
import type { Heard, Kind, Member } from './member.ts';

const PROGRAM = 'serf';
const HOST = '127.0.0.1';
const GOSSIP_PORT = 10_000;
const RPC_PORT = 20_000;
const EVENT = /serf: EventMember(Join|Failed|Leave): n(\d+) |memberlist: Suspect n(\d+) has failed/;
/** Its RPC is there by then. */
const READY = /Serf agent running!/;

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
  readonly #ready = Promise.withResolvers<void>();
  pid: number | undefined;

  constructor(index: number, hear: (of: Omit<Heard, 'atMs' | 'by'>) => void, open: () => void) {
    this.#index = index;
    this.#hear = hear;
    this.#open = open;
  }

  async prepare(): Promise<void> {
    const args = [
      'agent',
      `-node=n${this.#index}`,
      `-bind=${HOST}:${GOSSIP_PORT + this.#index}`,
      `-rpc-addr=${HOST}:${RPC_PORT + this.#index}`,
      '-profile=lan',
      '-log-level=info',
    ];
    const agent = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.pid = agent.pid;
    for (const output of [agent.stdout, agent.stderr])
      createInterface({ input: output }).on('line', (line) => this.#read(line));
    const ended = once(agent, 'exit').then(() => {
      throw new Error(`serf ${this.#index} did not come up`);
    });
    ended.catch(() => {});
    await Promise.race([this.#ready.promise, ended]);
  }

  join(): void {
    if (this.#index === 0) {
      this.#open();
      return;
    }
    const rpc = connect(RPC_PORT + this.#index, HOST);
    const commands = [
      { Command: 'handshake', Seq: 0 },
      { Version: 1 },
      { Command: 'join', Seq: 1 },
      { Existing: [`${HOST}:${GOSSIP_PORT}`], Replay: false },
    ];
    rpc.write(Buffer.concat(commands.map((each) => encode(each))));
    // It must stay open until the answer; how the join went shows in the log.
    rpc.unref().on('error', () => {});
    rpc.resume();
  }

  #read(line: string): void {
    if (READY.test(line)) this.#ready.resolve();
    const [, event, subject, suspect] = EVENT.exec(line) ?? [];
    if (suspect !== undefined) this.#hear({ who: Number(suspect), state: 'suspect' });
    else if (event !== undefined)
      this.#hear({ who: Number(subject), state: event === 'Join' ? 'alive' : 'dead' });
  }
}
