/**
 * A `Ring` node on a host of its own, in a process of its own.
 *
 * As a program: it opens the ring it is told of, reports each change of a member's state, and answers what it is asked.
 */
import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { type MemberState, type MemberView, Ring, type RingOptions } from '../ring/index.ts';
import type { Host } from './hosts.ts';

const PORT = 7_000;
const LOOK_MS = 100;

/** What a node knew at one time. */
export interface Seen {
  readonly epoch: number;
  readonly members: readonly MemberView[];
}

/** Echoes what it is sent. */
const ECHO = 'test.echo';
const CALL_TIMEOUT_MS = 30_000;

type Asked = 'see' | 'close' | { call: string; number: number; bytes: number };
type Said =
  | { kind: 'open'; id: string; address: string }
  | { kind: 'failed'; message: string }
  | { kind: 'member'; member: MemberView }
  | { kind: 'seen'; seen: Seen }
  | { kind: 'called'; number: number; failure?: string };

export class HostNode {
  readonly host: Host;
  readonly data: string;
  /** Changes of members' states, as it told of them. */
  readonly heard: MemberView[] = [];
  readonly #process: ChildProcess;
  readonly #opened = Promise.withResolvers<{ id: string; address: string }>();
  readonly #asked: ((seen: Seen) => void)[] = [];
  readonly #calls: ((failure?: string) => void)[] = [];
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

  /** Has it send so many bytes to another node and get them back. @returns why that failed; undefined: it did not */
  call(node: HostNode, bytes = 1): Promise<string | undefined> {
    return new Promise((resolve) => {
      const number = this.#calls.push(resolve) - 1;
      this.#process.send({ call: node.id, number, bytes } satisfies Asked);
    });
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }

  async close(): Promise<void> {
    const ended = once(this.#process, 'exit');
    this.#process.send('close' satisfies Asked);
    await ended;
  }

  #hear(said: Said): void {
    if (said.kind === 'member') this.heard.push(said.member);
    else if (said.kind === 'seen') this.#asked.shift()?.(said.seen);
    else if (said.kind === 'called') this.#calls[said.number]?.(said.failure);
    else if (said.kind === 'open') this.#opened.resolve(said);
    else this.#opened.reject(new Error(`${this.host.name}: ${said.message}`));
  }
}

/** Waits until all of these see all of those so. */
export async function untilSeen(
  by: readonly HostNode[],
  whom: readonly HostNode[],
  state: MemberState,
): Promise<void> {
  const isSo = ({ members }: Seen): boolean =>
    whom.every(({ id }) =>
      members.some(
        (member) => member.id === id && member.state === state && member.incarnation > 0,
      ),
    );
  while (!(await Promise.all(by.map((node) => node.see()))).every(isSo)) await pause(LOOK_MS);
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
    else if (asked === 'close') void ring.close().then(() => process.disconnect?.());
    else
      void call(ring, asked.call, asked.bytes).then((said) =>
        say({ ...said, number: asked.number }),
      );
  });
  ring.rpc.serve(ECHO, (body) => body);
  say({ kind: 'open', id: ring.id, address: ring.address });
}

async function call(
  ring: Ring,
  node: string,
  bytes: number,
): Promise<{ kind: 'called'; failure?: string }> {
  try {
    const body = new Uint8Array(bytes).fill(7);
    const answer = await ring.rpc.call(node, ECHO, body, { timeoutMs: CALL_TIMEOUT_MS });
    const isSame = answer instanceof Uint8Array && Buffer.compare(answer, body) === 0;
    return { kind: 'called', ...(isSame ? {} : { failure: 'the answer is another' }) };
  } catch (error) {
    return { kind: 'called', failure: String(error) };
  }
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
