/**
 * A subject in a process of its own, and the channel to it.
 *
 * As a program: START, as JSON. It ends when the channel does, however the benchmark ended.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { enlist } from './live.ts';
import { type Load, type LoadPlan, measureLoad } from './load.ts';
import type { Durability, DurableSubject, Source, Subject } from './subject.ts';
import { SOURCES } from './sources.ts';
import { readTail } from './tail.ts';

export interface Start {
  readonly folder: string;
  readonly address: string;
  readonly again: boolean;
  /** Where `bench/peers` is installed. */
  readonly packages: string;
  /** A line `RUN/STEP` for each body of a mid run's step. */
  readonly effects?: string;
  /** It kills itself in the body that is this one in number. */
  readonly killedAfter?: number;
}

type Request =
  | { readonly kind: 'load'; readonly plan: LoadPlan }
  /** Starts runs 0 to N - 1 at once; those that are acknowledged are lines in the file. */
  | { readonly kind: 'start-mids'; readonly runs: number; readonly acknowledged: string }
  | { readonly kind: 'mid-results'; readonly runs: readonly number[] };

type Reply = { readonly value: unknown } | { readonly error: string };

/** What one answer may take beyond the time that was asked for. */
const PATIENCE_MS = 150_000;

export class SubjectProcess {
  readonly #process: ChildProcess;
  readonly #log: string;
  /** Its end. Never rejects. */
  readonly ended: Promise<void>;
  durability: Durability = { text: 'unknown', full: false };

  private constructor(name: string, start: Start) {
    this.#log = join(start.folder, 'subject.log');
    const output = openSync(this.#log, 'a');
    this.#process = fork(import.meta.filename, [name, JSON.stringify(start)], {
      cwd: start.folder,
      stdio: ['ignore', output, output, 'ipc'],
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    closeSync(output);
    this.ended = once(this.#process, 'exit').then(
      () => undefined,
      () => undefined,
    );
    enlist(() => this.kill(), this.ended);
  }

  /** @throws Error why it does not open; no process is left */
  static async open({ name }: Source, start: Start): Promise<SubjectProcess> {
    const subject = new SubjectProcess(name, start);
    try {
      subject.durability = (await subject.#reply(PATIENCE_MS)) as Durability;
      return subject;
    } catch (error) {
      await subject.kill();
      throw error;
    }
  }

  async load(plan: LoadPlan): Promise<Load> {
    return (await this.#ask({ kind: 'load', plan }, plan.seconds * 1_000)) as Load;
  }

  /** Ends when the process does. */
  async startMids(runs: number, acknowledged: string): Promise<void> {
    this.#process.send({ kind: 'start-mids', runs, acknowledged } satisfies Request);
    const timeout = AbortSignal.timeout(PATIENCE_MS);
    const late = once(timeout, 'abort').then(() => {
      throw new Error(`half of the steps were not done after ${PATIENCE_MS / 1_000} s`);
    });
    await Promise.race([this.ended, late]);
    if (this.#process.signalCode !== 'SIGKILL') throw new Error(readTail(this.#log));
  }

  /** @returns those of the runs that have a result */
  async midResults(runs: readonly number[]): Promise<number[]> {
    return (await this.#ask({ kind: 'mid-results', runs })) as number[];
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.ended;
  }

  #ask(request: Request, ms = 0): Promise<unknown> {
    if (this.#process.connected) this.#process.send(request);
    return this.#reply(ms + PATIENCE_MS);
  }

  async #reply(ms: number): Promise<unknown> {
    const timeout = AbortSignal.timeout(ms);
    const reply = await Promise.race([
      once(this.#process, 'message', { signal: timeout }).then(
        ([message]) => message as Reply,
        (): Reply => ({ error: `no answer after ${ms / 1_000} s` }),
      ),
      this.ended.then((): Reply => ({ error: `it ended: ${readTail(this.#log)}` })),
    ]);
    if ('error' in reply) throw new Error(reply.error);
    return reply.value;
  }
}

async function serve(name: string, start: Start): Promise<void> {
  process.on('disconnect', () => process.exit());
  const reply = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      process.send?.({ value: await work() } satisfies Reply);
    } catch (error) {
      console.error(error);
      process.send?.({ error: String(error) } satisfies Reply);
    }
  };
  let left = start.killedAfter ?? Infinity;
  const source = SOURCES.find((one) => one.name === name) as Source;
  let subject: Subject | undefined;
  await reply(async () => {
    subject = await source.open({
      folder: start.folder,
      address: start.address,
      again: start.again,
      load: createRequire(join(start.packages, 'package.json')),
      onStep: (run, step) => {
        if (start.effects !== undefined) appendFileSync(start.effects, `${run}/${step}\n`);
        if (--left === 0) process.kill(process.pid, 'SIGKILL');
      },
    });
    return subject.durability;
  });
  if (subject === undefined) return;
  const opened = subject as DurableSubject;
  process.on('message', (message) => {
    void reply(() => answer(opened, message as Request));
  });
}

function answer(subject: DurableSubject, request: Request): Promise<unknown> {
  if (request.kind === 'load') return measureLoad(subject, request.plan);
  if (request.kind === 'mid-results') return subject.midResults(request.runs);
  return startMids(subject, request.runs, request.acknowledged);
}

async function startMids(subject: DurableSubject, runs: number, file: string): Promise<void> {
  const starts = Array.from({ length: runs }, async (_, run) => {
    await subject.startMid(run);
    appendFileSync(file, `${run}\n`);
  });
  await Promise.all(starts);
}

if (import.meta.main)
  await serve(process.argv[2] ?? '', JSON.parse(process.argv[3] ?? '') as Start);
