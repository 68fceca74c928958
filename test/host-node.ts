/**
 * A `Ring` node on a host of its own, in a process of its own.
 *
 * As a program: it opens the ring it is told of, reports each change of a member's state, and answers what it is asked.
 */
import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { type MemberView, Ring, type RingOptions } from '../ring/index.ts';
import type { Host } from './hosts.ts';

const PORT = 7_000;

/** What a node knew at one time. */
export interface Seen {
  readonly epoch: number;
  readonly members: readonly MemberView[];
}

type Asked = 'see' | 'close';
type Said =
  | { kind: 'open'; id: string; address: string }
  | { kind: 'failed'; message: string }
  | { kind: 'member'; member: MemberView }
  | { kind: 'seen'; seen: Seen };

export class HostNode {
  readonly host: Host;
  readonly data: string;
  /** Changes of members' states, as it told of them. */
  readonly heard: MemberView[] = [];
  readonly #process: ChildProcess;
  readonly #opened = Promise.withResolvers<{ id: string; address: string }>();
  readonly #asked: ((seen: Seen) => void)[] = [];
  #id = '';
  #address = '';

  private constructor(host: Host, options: RingOptions) {
    this.host = host;
    this.data = options.data;
    this.#process = host.fork(import.meta.filename, [JSON.stringify(options)]);
    this.#process.on('message', (said: Said) => this.#hear(said));
    this.#process.once('exit', () => this.#opened.reject(new Error(`${host.name} has ended`)));
  }

  /** @returns once it serves. @throws Error why it does not */
  static async start(host: Host, options: Omit<RingOptions, 'name'>): Promise<HostNode> {
    const listen = `${host.address}:${PORT}`;
    const node = new HostNode(host, { name: host.name, listen, ...options });
    const { id, address } = await node.#opened.promise;
    node.#id = id;
    node.#address = address;
    return node;
  }

  get id(): string {
    return this.#id;
  }

  get address(): string {
    return this.#address;
  }

  see(): Promise<Seen> {
    return new Promise((resolve) => {
      this.#asked.push(resolve);
      this.#process.send('see' satisfies Asked);
    });
  }

  async close(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.send('close' satisfies Asked);
    await ended;
  }

  #hear(said: Said): void {
    if (said.kind === 'member') this.heard.push(said.member);
    else if (said.kind === 'seen') this.#asked.shift()?.(said.seen);
    else if (said.kind === 'open') this.#opened.resolve(said);
    else this.#opened.reject(new Error(`${this.host.name}: ${said.message}`));
  }
}

async function serve(options: RingOptions): Promise<void> {
  const ring = await Ring.open(options);
  ring.onChange((change) => {
    if (change.kind === 'member' && change.member.state !== change.before)
      say({ kind: 'member', member: change.member });
  });
  process.on('message', (asked: Asked) => {
    if (asked === 'see')
      say({ kind: 'seen', seen: { epoch: ring.epoch().number, members: ring.members() } });
    else void ring.close().then(() => process.disconnect?.());
  });
  say({ kind: 'open', id: ring.id, address: ring.address });
}

function say(said: Said): void {
  process.send?.(said);
}

if (import.meta.main) {
  process.once('disconnect', () => process.exit());
  const options = JSON.parse(process.argv[2] ?? '') as RingOptions;
  await serve(options).catch((error: unknown) => {
    say({ kind: 'failed', message: String(error) });
    process.disconnect?.();
  });
}
