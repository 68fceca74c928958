/**
 * How long a suspect has to refute: long while one node alone accuses it, shorter with each other that does
 * so by a probe of its own (Lifeguard's dogpile: Dadgar, Phillips, Currey, DSN-W 2018).
 */
import type { Agenda } from './swim-agenda.ts';
import type { SwimOptions } from './swim-options.ts';
import type { Tracked, View } from './swim-view.ts';

/** Those who are suspect, and when their time is over. */
export class Suspicions {
  readonly #options: SwimOptions;
  readonly #view: View;
  readonly #suspects = new Set<Tracked>();
  /** Its `verdictMs` is the next one's end, or earlier. */
  readonly #agenda: Agenda;
  readonly #self: string;

  constructor(options: SwimOptions, view: View, agenda: Agenda, self: string) {
    this.#self = self;
    this.#options = options;
    this.#view = view;
    this.#agenda = agenda;
  }

  /** How many accusers count beside the first. */
  get needed(): number {
    return confirmationsNeeded(this.#options, this.#view.usable);
  }

  begin(suspect: Tracked, nowMs: number): void {
    suspect.suspectedMs = nowMs;
    this.#suspects.add(suspect);
    this.limit(suspect, nowMs);
  }

  end(suspect: Tracked): void {
    suspect.deadlineMs = Infinity;
    this.#suspects.delete(suspect);
  }

  /** Its time anew, by how many accuse it now. */
  limit(suspect: Tracked, nowMs: number): void {
    const { incarnation, accusers } = suspect.update;
    const needed = incarnation === 0 ? 0 : this.needed;
    const forMs = suspicionMs(this.#options, this.#view.size, needed, accusers?.length ?? 1);
    suspect.deadlineMs = Math.max(nowMs, suspect.suspectedMs + forMs);
    this.#agenda.verdictMs = Math.min(this.#agenda.verdictMs, suspect.deadlineMs);
  }

  /** Whether it has been suspect for so long that it would know, and have refuted, were it there. */
  isRipe(suspect: Tracked, nowMs: number): boolean {
    const leastMs = suspicionMs(this.#options, this.#view.size, 0, 1);
    return nowMs - suspect.suspectedMs >= leastMs / 2;
  }

  /** No more than half of the members are alive as this node sees it; what others alone say of suspects is no evidence. */
  get isCutOff(): boolean {
    const { alive, size } = this.#view;
    return alive * 2 <= size && (alive + this.#hearsay()) * 2 <= size;
  }

  /** How many are suspect by what others say alone. */
  #hearsay(): number {
    let count = 0;
    for (const { update } of this.#suspects)
      if (update.incarnation > 0 && update.accusers?.includes(this.#self) !== true) count++;
    return count;
  }

  /** Gives lost time back to all; Infinity: all begin anew. @returns whom it was given. */
  giveBack(lostMs: number, nowMs: number): Tracked[] {
    const given: Tracked[] = [];
    for (const suspect of this.#suspects) {
      if (suspect.deadlineMs === Infinity) continue;
      given.push(suspect);
      suspect.suspectedMs = Math.min(nowMs, suspect.suspectedMs + lostMs);
      this.limit(suspect, nowMs);
    }
    return given;
  }

  /** Those whose time is over; they stay suspects until `end`. */
  overdue(nowMs: number): Tracked[] {
    let nextMs = Infinity;
    const over: Tracked[] = [];
    for (const suspect of this.#suspects) {
      if (suspect.deadlineMs <= nowMs) over.push(suspect);
      else nextMs = Math.min(nextMs, suspect.deadlineMs);
    }
    this.#agenda.verdictMs = nextMs;
    return over;
  }

  /** Forgets those who are not of the view's roster. */
  rosterChanged(): void {
    for (const suspect of this.#suspects)
      if (this.#view.roster.indexOf(suspect.update.id) < 0) this.#suspects.delete(suspect);
  }
}

/** Confirmations that count: none where there are too few others to give them. */
function confirmationsNeeded(options: SwimOptions, usable: number): number {
  const { lifeguard, confirmations } = options;
  // Neither the suspect nor its first accuser confirms.
  return lifeguard && usable - 2 >= confirmations ? confirmations : 0;
}

/**
 * @param members of the roster.
 * @param needed see `confirmationsNeeded`.
 * @param accusers nodes that accuse it, at least 1.
 */
function suspicionMs(
  options: SwimOptions,
  members: number,
  needed: number,
  accusers: number,
): number {
  const { suspicionPeriods, probeIntervalMs, suspicionFactorMax } = options;
  const least = suspicionPeriods * probeIntervalMs * Math.max(1, Math.log10(members));
  if (needed === 0) return least;
  const most = least * suspicionFactorMax;
  const share = Math.log(Math.max(1, accusers)) / Math.log(needed + 1);
  return Math.max(least, most - (most - least) * share);
}
