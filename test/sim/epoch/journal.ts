/** Another user of the fenced log than the register: appends many entries at once and does not wait. */
import type { Random } from '../../../spec/random.ts';
import type {
  RegisterEffect,
  RegisterEvent,
  RegisterRequest,
} from '../../../ring/core/epoch-register.ts';
import { lastIndex, type Snapshot } from '../../../ring/core/fenced-log.ts';
import type { FencedLogOwner, OwnerEvent } from '../../../ring/core/fenced-log-owner.ts';
import { randomInt } from '../../../spec/random.ts';
import type { Value } from './checker.ts';
import { idleRegister } from '../../../ring/core/register-value.ts';

interface Pending {
  readonly request: RegisterRequest<string>;
  /** The first number it made, and the index of its last entry; once it is appended. */
  made?: { readonly number: number; readonly index: number };
}

const ENTRIES_MAX = 6;

export class Journal {
  known: Snapshot<Value>;
  readonly #owner: FencedLogOwner<Value>;
  readonly #random: Random;
  #pending: Pending[] = [];
  #retryAtMs = 0;
  #effects: RegisterEffect<string>[] = [];

  constructor(options: { owner: FencedLogOwner<Value>; known: Snapshot<Value>; random: Random }) {
    this.#owner = options.owner;
    this.known = options.known;
    this.#random = options.random;
  }

  get wakeMs(): number {
    const { phase, wakeMs } = this.#owner;
    const deadlines = this.#pending.map(({ request }) => request.deadlineMs);
    const retryAtMs = phase === 'idle' && deadlines.length > 0 ? this.#retryAtMs : Infinity;
    return Math.min(wakeMs, retryAtMs, ...deadlines);
  }

  step(event: RegisterEvent<string>, nowMs: number): RegisterEffect<string>[] {
    this.#effects = [];
    if (event.kind === 'learn') this.#learn(event.snapshot);
    else if (event.kind === 'request') this.#take(event.request, nowMs);
    else this.#drive(event, nowMs);
    this.#end(({ request }) => request.deadlineMs <= nowMs);
    if (this.#pending.length > 0 && this.#owner.phase === 'idle' && nowMs >= this.#retryAtMs)
      this.#drive({ kind: 'acquire', base: this.known }, nowMs);
    if (this.#owner.isEstablished)
      for (const each of this.#pending) if (each.made === undefined) this.#append(each, nowMs);
    return this.#effects;
  }

  #take(request: RegisterRequest<string>, nowMs: number): void {
    if (request.kind === 'voters')
      this.#drive({ kind: 'change-voters', voters: request.voters }, nowMs);
    if (request.kind === 'write') this.#pending.push({ request });
    else this.#effects.push({ kind: 'answer', id: request.id, outcome: { kind: 'unknown' } });
  }

  #append(pending: Pending, nowMs: number): void {
    const { id } = pending.request;
    const last = idleRegister(this.#owner.log);
    const { number } = last;
    const values = Array.from({ length: 1 + randomInt(this.#random, ENTRIES_MAX) }, (_, i) => {
      const record = i === 0 ? id : `${id}+${i}`;
      return { ...last, number: number + 1 + i, record, requests: [record] };
    });
    pending.made = { number: number + 1, index: lastIndex(this.#owner.log) + values.length };
    this.#drive({ kind: 'append', values }, nowMs);
  }

  #drive(event: OwnerEvent<Value>, nowMs: number): void {
    for (const effect of this.#owner.step(event, nowMs)) {
      if (effect.kind === 'send') {
        this.#effects.push(effect);
      } else if (effect.kind === 'lost') {
        this.#retryAtMs = nowMs + this.#random.next() * 200;
        this.#end(({ made }) => made !== undefined);
      } else {
        const { snapshot } = this.#owner.log;
        this.#learn(snapshot);
        this.#effects.push({ kind: 'committed', snapshot, signatures: effect.signatures });
        for (const { request, made } of this.#pending) {
          if (made === undefined || made.index > effect.index) continue;
          const value = snapshot.state as Value;
          const outcome = { kind: 'committed', number: made.number, value } as const;
          this.#effects.push({ kind: 'answer', id: request.id, outcome });
        }
        this.#pending = this.#pending.filter(({ made }) => !made || made.index > effect.index);
      }
    }
  }

  #end(isOver: (pending: Pending) => boolean): void {
    for (const { request } of this.#pending.filter(isOver))
      this.#effects.push({ kind: 'answer', id: request.id, outcome: { kind: 'unknown' } });
    this.#pending = this.#pending.filter((pending) => !isOver(pending));
  }

  #learn(snapshot: Snapshot<Value>): void {
    if (snapshot.index > this.known.index) this.known = snapshot;
  }
}
