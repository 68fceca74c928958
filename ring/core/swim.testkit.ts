/** A node of SWIM without clock or network: what it hears and when is what a test says. */
import { type Random, seededRandom } from '../../spec/random.ts';
import { Swim } from './swim.ts';
import type { SwimEffect } from './swim-event.ts';
import type { SwimMessage, Update } from './swim-message.ts';
import type { OwnFacts } from './swim-self.ts';
import { type SwimOptions, swimOptions } from './swim-options.ts';
import { Roster } from './swim-view.ts';

export const random: Random = seededRandom(1);
export const ids = (count: number): string[] =>
  'abcdefghijklmnopqrstuvwxyz'.slice(0, count).split('');
export const rosterOf = (count: number): Roster =>
  new Roster(ids(count).map((id) => ({ id, address: `${id}:1` })));
export const facts: OwnFacts = { addresses: ['a:1'], protocol: [1, 1], certificateEpoch: 1 };

/** Node a, which has heard that the others are alive with incarnation 1. */
export function nodeA(nodes = 3, options: Partial<SwimOptions> = {}): Swim {
  const self = { id: 'a', incarnation: 5, facts };
  const swim = new Swim(self, swimOptions(options), 0, random);
  swim.step({ kind: 'roster', roster: rosterOf(nodes) }, 0, random);
  for (const id of ids(nodes).slice(1))
    swim.step(said(id, { id, state: 'alive', incarnation: 1 }), 1, random);
  return swim;
}

export type MessageEvent = { kind: 'message'; from: string; message: SwimMessage };

export function said(
  from: string,
  claim: Update,
  kind: 'gossip' | 'sync' = 'gossip',
): MessageEvent {
  const request = kind === 'sync' ? { kind, step: 'tell' as const, alive: 100 } : { kind };
  return { kind: 'message', from, message: { ...request, incarnation: 1, updates: [claim] } };
}

export function sent(effects: SwimEffect[]): { to: string; message: SwimMessage }[] {
  return effects.filter((effect) => effect.kind === 'send');
}

/** Ticks as a driver does, until the time; `answer` says what comes back for what was sent, at once. */
export function tickUntil(
  swim: Swim,
  untilMs: number,
  answer: (to: string, message: SwimMessage) => MessageEvent[] = () => [],
): (SwimEffect & { atMs: number })[] {
  const effects: (SwimEffect & { atMs: number })[] = [];
  for (let nowMs = swim.wakeMs; nowMs <= untilMs; nowMs = Math.max(nowMs + 1, swim.wakeMs)) {
    const caused = swim.step({ kind: 'tick' }, nowMs, random);
    for (const { to, message } of sent(caused))
      for (const event of answer(to, message)) caused.push(...swim.step(event, nowMs, random));
    for (const effect of caused) effects.push({ ...effect, atMs: nowMs });
  }
  return effects;
}

export function ack(from: string, seq: number, target?: string): MessageEvent {
  const request = { kind: 'ack' as const, seq, ...(target === undefined ? {} : { target }) };
  return { kind: 'message', from, message: { ...request, incarnation: 1, updates: [] } };
}

/** When the state of b was said to change, by its trail. */
export function atMs(swim: Swim, start: string): number {
  const marks = swim.member('b')?.trail ?? [];
  return marks.findLast(({ text }) => text.startsWith(start))?.atMs ?? Number.NaN;
}
