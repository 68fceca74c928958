/**
 * Runs a program, with all processes of its group, no longer than the one who wants it.
 *
 * A keeper is a process between the two, in a session of its own so that no Ctrl-C reaches it. Its channel to the
 * benchmark closes however that ends, also by kill -9, and then it ends the group.
 *
 * As a program: COMMAND, as JSON.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { enlist } from './live.ts';
import { readTail } from './tail.ts';

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Who it runs as, when this process may choose. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** What ends it; what is left after GRACE_MS is killed. */
  readonly endSignal: NodeJS.Signals;
}

const GRACE_MS = 3_000;

/** A program that runs in the background. */
export class Keeper {
  /** Its end, with the last of what it printed. Never rejects. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;

  /** @param log the file that gets what the program prints */
  constructor(command: Command, log: string) {
    const output = openSync(log, 'a');
    this.#process = fork(import.meta.filename, [JSON.stringify(command)], {
      cwd: command.folder,
      detached: true,
      execArgv: [],
      stdio: ['ignore', output, output, 'ipc'],
    });
    closeSync(output);
    this.ended = once(this.#process, 'exit').then(
      () => readTail(log),
      (error: unknown) => String(error),
    );
    enlist(() => this.stop(), this.ended);
  }

  /** kill -9 for the whole group. */
  async kill(): Promise<void> {
    if (this.#process.connected) this.#process.send('SIGKILL');
    await this.ended;
  }

  async stop(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.ended;
  }
}

async function keep({ program, args, folder, env, user, endSignal }: Command): Promise<void> {
  const child = spawn(program, args, {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
    ...(env === undefined ? {} : { env }),
    ...user,
  });
  const signalGroup = (signal: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  process.on('message', (signal) => signalGroup(signal as NodeJS.Signals));
  process.on('disconnect', () => {
    signalGroup(endSignal);
    setTimeout(() => signalGroup('SIGKILL'), GRACE_MS).unref();
  });
  try {
    await once(child, 'close');
  } catch (error) {
    console.error(String(error));
  }
  // What the program left in its group.
  signalGroup('SIGKILL');
  process.exit();
}

if (import.meta.main) await keep(JSON.parse(process.argv[2] ?? '') as Command);
