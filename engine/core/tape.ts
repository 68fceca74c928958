/**
 * A run's journal under the reading head: recorded events in front of it are replayed, new ones are produced at its end.
 *
 * P1. A command of the body must be the next recorded event, as long as there is one; only past the end is it new.
 * P2. What was kept while the run was stuck stands in the journal before the commands that the mended body made of the
 *     event in front of it; so commands step over it, and it is delivered next.
 */
import { NondeterminismError } from './errors.ts';
import { type CommandEvent, describeEvent, type JournalEvent } from './event.ts';

const CORE = new URL('.', import.meta.url).pathname;
/** Who calls bodies. */
const CALLERS = ['../io/', `../replay${import.meta.url.slice(-'.ts'.length)}:`].map(
  (path) => new URL(path, import.meta.url).pathname,
);

export class Tape {
  #recorded: readonly JournalEvent[] = [];
  #cursor = 0;
  #produced: JournalEvent[] = [];
  #taken = 0;
  #kept: JournalEvent[] = [];

  get replaying(): boolean {
    return this.#cursor < this.#recorded.length;
  }

  /** Events of the journal, including those produced and not yet taken. */
  get length(): number {
    return this.#recorded.length + this.#taken + this.#produced.length;
  }

  load(recorded: readonly JournalEvent[]): void {
    this.#recorded = recorded;
  }

  /** The recorded event that the next command must match; undefined past the end. */
  peek(): JournalEvent | undefined {
    let event = this.#recorded[this.#cursor];
    while (event !== undefined && 'kept' in event) {
      this.#kept.push(event); // P2
      event = this.#recorded[++this.#cursor];
    }
    return event;
  }

  /** The next event to deliver. */
  next(): JournalEvent | undefined {
    return this.#kept.shift() ?? this.#recorded[this.#cursor++];
  }

  /** @returns the command as recorded, or the new one. @throws NondeterminismError */
  command<C extends CommandEvent>(command: C, seq: number): C {
    const recorded = this.peek();
    if (recorded === undefined) {
      this.#produced.push(command);
      return command;
    }
    if (!isSame(recorded, command)) {
      throw divergence(seq, recorded, describeEvent(command), sourceLine()); // P1
    }
    this.#cursor++;
    return recorded as C;
  }

  /** Adds an event from outside at the end. */
  record(event: JournalEvent): void {
    this.#produced.push(event);
  }

  /** What was produced since the last time. */
  take(): JournalEvent[] {
    const produced = this.#produced;
    this.#produced = [];
    this.#taken += produced.length;
    return produced;
  }

  /** Forgets what was produced except the event from outside that led to it. */
  dropCommands(isOutside: (event: JournalEvent) => boolean): void {
    this.#produced = this.#produced.filter(isOutside);
  }
}

/** What must agree for a replay to be the same run; never closures, durations or results. */
function isSame(recorded: JournalEvent, command: CommandEvent): boolean {
  if (recorded.kind !== command.kind) return false;
  if ('name' in command && command.name !== (recorded as { name?: string }).name) return false;
  if ('id' in command && command.id !== (recorded as { id?: string }).id) return false;
  if (!('op' in command)) return true;
  const other = recorded as typeof command;
  return other.op === command.op && (other.hash ?? '') === (command.hash ?? '');
}

/** @param at line of the body that did it, if it did anything */
export function divergence(
  seq: number,
  recorded: JournalEvent,
  actual: string,
  at?: string,
): NondeterminismError {
  return new NondeterminismError({
    seq: 'op' in recorded ? recorded.op : seq,
    recorded: describeEvent(recorded),
    actual,
    ...(at === undefined ? {} : { at }),
  });
}

/** `file:line:column` of the body that called into this folder; undefined where none did, e.g. as it returned. */
function sourceLine(): string | undefined {
  const frames = (new Error('trace').stack ?? '').split('\n').slice(1);
  const caller = frames.find((line) => !line.includes(CORE) && /:\d+:\d+\)?$/.test(line)) ?? '';
  // Beyond a caller of bodies are those who called the engine; an async frame waits for what it called.
  const isOurs = / at async |node:/.test(caller) || CALLERS.some((path) => caller.includes(path));
  return isOurs ? undefined : /(?:file:\/\/)?([^\s(]+:\d+:\d+)\)?$/.exec(caller)?.[1];
}
