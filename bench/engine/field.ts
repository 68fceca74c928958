/** The subjects that take part in a run, and the peers that do not, with the reason. */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { LeftOut } from './bounds.ts';
import { isOver } from './live.ts';
import type { Load, LoadPlan } from './load.ts';
import { PEERS } from './sources.ts';
import type { Durability, Source } from './subject.ts';
import { SubjectProcess } from './subject-process.ts';

export class Field {
  readonly #folder: string;
  /** Where `bench/peers` is installed. */
  readonly packages: string;
  readonly #say: (text: string) => void;
  readonly #subjects = new Map<string, SubjectProcess>();
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #leftOut = new Map<string, string>();
  readonly #durability = new Map<string, Durability>();

  constructor(folder: string, packages: string, say: (text: string) => void) {
    this.#folder = folder;
    this.packages = packages;
    this.#say = say;
  }

  get leftOut(): readonly LeftOut[] {
    return [...this.#leftOut].map(([name, why]) => ({ name, why }));
  }

  has({ name }: Source): boolean {
    return !this.#leftOut.has(name);
  }

  isPeer({ name }: Source): boolean {
    return PEERS.some((peer) => peer.name === name);
  }

  durabilityOf({ name }: Source): Durability | undefined {
    return this.#durability.get(name);
  }

  leaveOut({ name }: Source, why: string): void {
    this.#leftOut.set(name, why);
    this.#say(`left out: ${name}: ${why}`);
  }

  async open(source: Source): Promise<void> {
    await this.attempt(source, async () => {
      const folder = this.emptyFolder(source.name);
      const backend = await source.startBackend?.({ folder, packages: this.packages });
      if (backend !== undefined) this.#stops.push(() => backend.stop());
      const address = backend?.address ?? '';
      const start = { folder, address, packages: this.packages, again: false };
      const subject = await SubjectProcess.open(source, start);
      this.#subjects.set(source.name, subject);
      this.#durability.set(source.name, subject.durability);
    });
  }

  /** @returns undefined when the subject fell out */
  load(source: Source, plan: LoadPlan): Promise<Load | undefined> {
    return this.attempt(source, async () => this.#subjects.get(source.name)?.load(plan));
  }

  /** A peer that fails is left out from then on; ours may not fail. */
  async attempt<T>(source: Source, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!this.isPeer(source) || isOver()) throw error;
      this.leaveOut(source, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  emptyFolder(name: string): string {
    return mkdtempSync(join(this.#folder, `${name}-`));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#subjects.values()].map((subject) => subject.kill()));
    await Promise.all(this.#stops.map((stop) => stop()));
    this.#subjects.clear();
    this.#stops.length = 0;
  }
}
