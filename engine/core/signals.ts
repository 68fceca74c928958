/** Signals of a run: what arrived and was not consumed, and who consumes a name. */
import { AetherError } from '../../spec/error.ts';

export interface SignalReceiver {
  readonly op: number;
  accept(payload: unknown): void;
}

interface Kept {
  readonly at: number;
  readonly name: string;
  readonly payload: unknown;
}

export class Signals {
  /** Arrived, and nobody took it yet; by name, in arrival order. */
  readonly #kept = new Map<string, Kept[]>();
  #arrived = 0;
  readonly #receivers = new Map<string, SignalReceiver[]>();
  readonly #handlers = new Map<string, (payload: unknown) => void>();
  readonly #receivedNames = new Set<string>();

  arrive(name: string, payload: unknown): void {
    const handler = this.#handlers.get(name);
    if (handler !== undefined) return handler(payload);
    const receiver = this.#receivers.get(name)?.shift();
    if (receiver !== undefined) return receiver.accept(payload);
    const kept = this.#kept.get(name);
    const one = { at: this.#arrived++, name, payload };
    if (kept === undefined) this.#kept.set(name, [one]);
    else kept.push(one);
  }

  /** From now on the name is received. @throws AetherError ERR_ENGINE_DUPLICATE_CONSUMER */
  claim(name: string): void {
    if (this.#handlers.has(name)) throw duplicateConsumer(name);
    this.#receivedNames.add(name);
  }

  receive(name: string, receiver: SignalReceiver): void {
    const kept = this.#kept.get(name);
    if (kept !== undefined && kept.length > 0) return receiver.accept(kept.shift()?.payload);
    const waiting = this.#receivers.get(name);
    if (waiting === undefined) this.#receivers.set(name, [receiver]);
    else waiting.push(receiver);
  }

  /** A receiver that timed out or was cancelled takes nothing more. */
  leave(name: string, op: number): void {
    const waiting = this.#receivers.get(name);
    const at = waiting?.findIndex((receiver) => receiver.op === op) ?? -1;
    if (at >= 0) waiting?.splice(at, 1);
  }

  handle(name: string, handler: (payload: unknown) => void): void {
    if (this.#handlers.has(name) || this.#receivedNames.has(name)) throw duplicateConsumer(name);
    this.#handlers.set(name, handler);
    const kept = this.#kept.get(name) ?? [];
    this.#kept.delete(name);
    for (const { payload } of kept) handler(payload);
  }

  /** All that nobody took, in arrival order. */
  unconsumed(): { name: string; payload: unknown }[] {
    return [...this.#kept.values()].flat().toSorted((a, b) => a.at - b.at);
  }
}

function duplicateConsumer(name: string): AetherError {
  return new AetherError(`signal "${name}" has a consumer already`, {
    code: 'ERR_ENGINE_DUPLICATE_CONSUMER',
    hint: 'use either ctx.receive or one ctx.onSignal for a name',
  });
}
