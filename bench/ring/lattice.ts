/** A lattice under measurement, in namespaces of its own that end with it. */
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { enlist } from '../engine/live.ts';
import type { Answer, Figures, Layout, Request } from './lattice-process.ts';

/**
 * Namespaces belong to the processes in them: there is nothing to be removed. Who is not root needs a user
 * namespace as well.
 */
const UNSHARE: readonly string[] = [
  ...(process.getuid?.() === 0 ? [] : ['--map-root-user']),
  '--net',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
];
const PROGRAM = 'unshare';
const LOOPBACK_UP = 'ip link set lo up';

/** @returns why this machine does not have them, or undefined where it does. */
export function lacksNamespaces(): string | undefined {
  const { status, error, stderr } = spawnSync(PROGRAM, [...UNSHARE, 'sh', '-c', LOOPBACK_UP], {
    encoding: 'utf8',
  });
  if (status === 0) return undefined;
  return `no network namespaces here: ${error?.message ?? stderr.trim()}`;
}

export class Lattice {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(layout: Layout) {
    this.#process = fork(
      join(import.meta.dirname, 'lattice-process.ts'),
      [JSON.stringify(layout)],
      {
        execPath: PROGRAM,
        execArgv: [...UNSHARE, 'sh', '-c', `${LOOPBACK_UP} && exec "$0" "$@"`, process.execPath],
        // Ctrl-C is for the benchmark, which then ends this.
        detached: true,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      },
    );
    this.#ended = once(this.#process, 'exit');
    enlist(() => this.close(), this.#ended);
  }

  /** One at a time. @throws Error what did not come about in time, or that its process ended. */
  async ask(request: Request): Promise<Figures[]> {
    this.#process.send(request);
    const ended = this.#ended.then(() => ({ failure: 'its process ended' }));
    const answered = once(this.#process, 'message').then(([answer]) => answer as Answer);
    const answer = await Promise.race([answered, ended]);
    if ('failure' in answer) throw new Error(answer.failure);
    return answer.figures;
  }

  async close(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#ended;
  }
}
