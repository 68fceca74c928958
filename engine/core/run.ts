/**
 * One run of a workflow: a body of plain async code, driven by its journal.
 *
 * Sans-IO. The shell delivers events and gets back what to append and what to begin once that is durable. The body's
 * promises settle only inside `deliver` and `recover`, one event at a time, with microtasks drained after each; so the
 * same journal gives the same interleaving, also through Promise.all, race, any and allSettled.
 *
 * R1. Live and replayed bodies see the same values: what is recorded, decoded.
 * R2. Nothing outside begins here. A step's function is handed out, and called by the shell after its command is durable.
 * R3. A recorded outcome settles its operation; a step that has one is never handed out again.
 * R4. A body that differs from its journal, or waits for something that is not an operation, makes the run stuck:
 *     from then on it produces nothing, so its journal does not grow.
 * R5. What the journal says of its state, and that it has ended, holds also when its body cannot be replayed to there.
 */
import { AetherError } from '../../spec/error.ts';
import { type Random, seededRandom } from '../../spec/random.ts';
import type { StepContext, StepOptions } from './contract.ts';
import { CancelledError, ForeignAwaitError, QueryError } from './errors.ts';
import {
  type Attributes,
  type ClosingEvent,
  type CommandEvent,
  describeEvent,
  isClosing,
  isCommand,
  type JournalEvent,
  type NextRun,
  type EndedFromOutside,
  type OutsideEvent,
  type ParentLink,
  type ScheduledEvent,
  type ScheduledKind,
  type StartedEvent,
  type UpdateCompletedEvent,
} from './event.ts';
import { failureOf, legible } from './failure.ts';
import { Handlers } from './handlers.ts';
import type { Operation, StepState } from './operation.ts';
import { Operations } from './operations.ts';
import type { Json } from './payload.ts';
import { isProgress, Progress, type ProgressEvent, type StepProgress } from './progress.ts';
import { isFinalForRun, retryDelayMs } from './retry.ts';
import type { Advance, RunIdentity, RunPorts } from './run-ports.ts';
import { Saga } from './saga.ts';
import { Scope, cancelledError } from './scope.ts';
import { settlementOf, type SettlingEvent } from './settlement.ts';
import { Signals } from './signals.ts';
import { divergence, Tape } from './tape.ts';

/** Thrown by continueAsNew through the body. */
export class Continuation {
  readonly input: Json;
  constructor(input: Json) {
    this.input = input;
  }
}

/** An update by id: accepted, or finished with its outcome. */
export type UpdateState = 'accepted' | UpdateCompletedEvent;

export type RunBody = (run: Run, scope: Scope, input: unknown) => Promise<unknown>;

export class Run {
  readonly identity: RunIdentity;
  readonly ports: RunPorts;
  readonly root: Scope = Scope.root();
  readonly random: Random;
  readonly attributes: Attributes = {};
  readonly signals: Signals = new Signals();
  readonly handlers: Handlers = new Handlers();
  readonly saga: Saga = new Saga();
  readonly signalIds: Set<string> = new Set();
  readonly updates: Map<string, UpdateState> = new Map();
  /** Ids of updates that somebody may ask for again. */
  readonly namedUpdates: Set<string> = new Set();
  readonly versions: Map<string, number> = new Map();
  readonly progress: Progress = new Progress();
  /** Children that are not known to have ended, by workflow id, and what the end of this run is to them. */
  readonly children: Map<string, ParentLink['onClose']> = new Map();

  readonly #body: RunBody;
  readonly #tape = new Tape();
  readonly #operations = new Operations((operation) => this.#left(operation));
  #operationCount = 0;
  #delivering = false;
  #nowMs = 0;
  #shellMs = 0;
  #started: StartedEvent | undefined;
  #bodyCalled = false;
  #compensating = false;
  #begunAt: number | undefined;
  #closing: ClosingEvent | undefined;
  #stuck: AetherError | undefined;

  constructor(identity: RunIdentity, body: RunBody, ports: RunPorts) {
    this.identity = identity;
    this.ports = ports;
    this.#body = body;
    this.random = seededRandom(seedOf(ports.digest(identity.runId)));
  }

  get replaying(): boolean {
    return this.#tape.replaying;
  }
  /** Events in the journal, those of the last advance included. */
  get length(): number {
    return this.#tape.length;
  }
  /** Time of the event being handled. */
  get nowMs(): number {
    return this.#nowMs;
  }
  get started(): StartedEvent {
    if (this.#started === undefined) throw new Error(`run ${this.identity.runId} has no start`);
    return this.#started;
  }
  get closing(): ClosingEvent | undefined {
    return this.#closing;
  }
  get stuck(): AetherError | undefined {
    return this.#stuck;
  }
  /** When its body was first called, if that was not at the start. */
  get begunAt(): number | undefined {
    return this.#begunAt;
  }
  /** Waits for its place in a queue, or will after a delay. */
  get queued(): boolean {
    return this.#started?.queue !== undefined && this.#begunAt === undefined;
  }
  /** Its body was not called: it waits for the end of a delay, or for its place. */
  get delayed(): boolean {
    return !this.#bodyCalled && this.#closing === undefined;
  }
  get operations(): Iterable<Operation> {
    return this.#operations;
  }
  operation(op: number): Operation | undefined {
    return this.#operations.get(op);
  }

  /**
   * Replays a journal, then lets the body go on.
   *
   * @returns what the body did past the journal's end, and every operation that is open.
   */
  async recover(
    recorded: readonly JournalEvent[],
    nowMs: number,
    progress: readonly StepProgress[] = [],
  ): Promise<Advance> {
    this.#tape.load(recorded);
    this.#shellMs = nowMs;
    for (const event of recorded) this.#remember(event);
    const refusal = this.ports.refusal();
    if (refusal !== undefined) this.#fail(refusal);
    for (let event = this.#tape.next(); event !== undefined; event = this.#tape.next()) {
      if (this.#stuck !== undefined) break;
      if (isCommand(event) || this.#closing !== undefined) {
        this.#fail(divergence(this.#operationCount + 1, event, 'nothing'));
        break;
      }
      await this.#handle(event);
    }
    for (const one of progress) {
      const operation = this.#operations.get(one.op);
      if (operation !== undefined || this.#stuck !== undefined)
        this.progress.resume(one, operation);
    }
    // R5
    if (this.#stuck !== undefined) for (const event of recorded) this.#rememberState(event);
    this.#operations.resume();
    return this.#advance();
  }

  /** Delivers an event from outside that is to be appended. Only while the run is open and not stuck. */
  async deliver(event: OutsideEvent): Promise<Advance> {
    if (isProgress(event) && (this.full || this.progress.isLong(event.op))) {
      return this.#keepProgress(event);
    }
    this.#tape.record(event);
    this.#shellMs = event.at;
    await this.#handle(event);
    return this.#advance();
  }

  /** P2 of progress.ts: nothing to append, the record is another. */
  #keepProgress(event: ProgressEvent): Advance {
    const operation = this.#operations.get(event.op);
    if (operation?.step === undefined) return this.#advance();
    this.progress.keep(operation.step, event);
    return { ...this.#advance(), kept: [event] };
  }

  /** Appends to the journal of a stuck run, for the body that will be mended. */
  keep(event: OutsideEvent): Advance {
    this.#tape.record({ ...event, kept: true });
    this.#remember(event);
    return this.#advance();
  }

  /** Ends the run from outside, without asking the body. */
  close(event: EndedFromOutside): Advance {
    // What came before while it was stuck is not answered by its body: a replay must not look for that (P2 of tape.ts).
    this.#tape.record(this.#stuck === undefined ? event : { ...event, kept: true });
    this.#end(event);
    return this.#advance();
  }

  // ---- for the context: what a body may do -----------------------------------------------------

  /** Begins an operation. @returns never settles once the run is stuck or closed (R4) */
  schedule(
    scope: Scope,
    kind: ScheduledKind,
    name: string,
    options: {
      hash?: string;
      fireAt?: number | undefined;
      byWallClock?: boolean;
      step?: StepState;
      predicate?: () => boolean;
      awaits?: string;
      onScheduled?: (operation: Operation) => void;
    } = {},
  ): Promise<unknown> {
    const cancelled = scope.cancelled;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    // A body may look at a failed operation late or never; that must not end the process.
    promise.catch(() => {});
    if (cancelled !== undefined) {
      reject(cancelled);
      return promise;
    }
    const op = this.#operationCount + 1;
    const command = this.command<ScheduledEvent>({
      kind: `${kind}-scheduled`,
      at: this.#shellMs,
      op,
      name,
      ...(options.hash ? { hash: options.hash } : {}),
      ...(options.fireAt === undefined ? {} : this.#timed(options.fireAt)),
    });
    if (command === undefined) return promise;
    this.#operationCount = op;
    const operation: Operation = {
      op,
      kind,
      name,
      scope,
      scheduledAt: command.at,
      fireAt: command.fireAt,
      ...(options.byWallClock === true ? { byWallClock: true } : {}),
      promise,
      resolve,
      reject,
      ...(command.trace === undefined ? {} : { trace: command.trace }),
      ...(options.step === undefined ? {} : { step: options.step }),
      ...(options.predicate === undefined ? {} : { predicate: options.predicate }),
      ...(options.awaits === undefined ? {} : { awaits: options.awaits }),
    };
    this.#operations.add(operation, !this.replaying);
    options.onScheduled?.(operation);
    return promise;
  }

  #timed(fireAt: number): Pick<ScheduledEvent, 'fireAt' | 'trace'> {
    const trace = this.ports.trace?.();
    return trace === undefined ? { fireAt } : { fireAt, trace };
  }

  /** Deadline of something that begins now, Unix ms. */
  deadline(afterMs: number): number {
    return this.#shellMs + afterMs;
  }

  /** Settles an operation from within the body's turn (a signal taken, a scope that ended). */
  settle(
    operation: Operation,
    outcome?: { value: unknown } | { error: AetherError | Error },
  ): void {
    this.#operations.settle(operation, outcome);
  }

  /** Journals or checks a command. @returns undefined once the run is stuck or closed: do nothing then (R4) */
  command<C extends CommandEvent>(command: C): C | undefined {
    if (this.handlers.querying) {
      throw new QueryError('a query handler may only read', {
        hint: 'use an update to change things',
      });
    }
    if (this.#stuck !== undefined || this.#closing !== undefined) return undefined;
    if (!this.#delivering) {
      this.#fail(foreignAwait(`${describeEvent(command)} came from outside of the body: ${STRAY}`));
      this.ports.onStray?.();
      return undefined;
    }
    // What was done can be undone, however full the history is.
    if (!this.replaying && !this.#compensating && !isClosing(command)) this.checkRoom();
    try {
      return this.#tape.command(command, this.#operationCount + 1);
    } catch (error) {
      this.#fail(error as AetherError);
      return undefined;
    }
  }

  /** The history takes no more. */
  get full(): boolean {
    return this.length >= this.ports.historyEventsMax;
  }

  /** @throws AetherError ERR_ENGINE_HISTORY_LIMIT */
  checkRoom(): void {
    if (!this.full) return;
    throw new AetherError(`the run has ${this.length} events, the limit`, {
      code: 'ERR_ENGINE_HISTORY_LIMIT',
      hint: 'use ctx.continueAsNew, or raise limits.historyEvents',
    });
  }

  /** Next recorded event, for what depends on whether it was there (version markers). */
  peek(): JournalEvent | undefined {
    return this.#tape.peek();
  }

  /** The body itself says that it cannot go on. */
  refuse(error: AetherError): void {
    this.#fail(error);
  }

  /** The body did what no body may: of this turn only what came from outside is recorded. */
  forbid(error: AetherError): void {
    if (this.#stuck !== undefined || this.#closing !== undefined) return;
    if (this.#delivering) this.#tape.dropCommands((produced) => !isCommand(produced));
    this.#fail(error);
    if (!this.#delivering) this.ports.onStray?.();
  }

  cancelScope(scope: Scope, reason: string): void {
    for (const operation of scope.cancel(reason))
      this.#operations.cancel(operation, cancelledError(reason));
  }

  onSignal(name: string, handler: (payload: unknown) => unknown): void {
    this.signals.handle(name, (payload) =>
      this.#runHandler(async () => void (await handler(payload))),
    );
  }

  #runHandler(handler: () => Promise<void>): void {
    this.handlers.run(handler, () => this.root.cancelled !== undefined);
  }

  // ---- inside ----------------------------------------------------------------------------------

  async #handle(event: OutsideEvent): Promise<void> {
    this.#nowMs = event.at;
    this.#delivering = true;
    this.#enter(() => this.#applied(event));
    do await this.ports.drain();
    while (this.#enter(() => this.#operations.wakeCondition()));
    this.#delivering = false;
    const waits = this.#bodyCalled && this.#closing === undefined && this.#stuck === undefined;
    if (waits && this.#operations.size === 0) {
      const recorded = this.peek();
      if (recorded !== undefined && isCommand(recorded)) {
        return this.#fail(divergence(this.#operationCount + 1, recorded, 'nothing but wait'));
      }
      this.#tape.dropCommands((produced) => !isCommand(produced));
      this.#fail(foreignAwait('the body waits, and no operation of its ctx is open'));
    }
  }

  #applied(event: OutsideEvent): void {
    try {
      this.#apply(event);
    } catch (error) {
      // The engine may have been opened without the codec, or with another: R4 holds, and nothing is lost.
      this.#fail(unreadable(event, error as Error));
    }
  }

  #enter<T>(act: () => T): T {
    return this.ports.enter === undefined ? act() : this.ports.enter(this, act);
  }

  #apply(event: OutsideEvent): void {
    switch (event.kind) {
      case 'started':
        this.#remember(event);
        this.#rememberState(event);
        if (event.notBefore === undefined && !this.queued) this.#callBody();
        return;
      case 'begun':
        this.#begunAt = event.at;
        return this.#callBody();
      case 'step-completed':
      case 'step-failed':
      case 'timer-fired':
      case 'child-closed':
        return this.#withOperation(event, (operation) => this.#settled(operation, event));
      case 'step-retried':
      case 'step-progressed':
        return this.#withStep(event, (step) => this.progress.tell(step, event));
      case 'signal-received':
        this.#remember(event);
        return this.signals.arrive(event.name, this.ports.payloads.decode(event.payload));
      case 'update-accepted':
        return this.#update(event);
      case 'cancel-requested':
        this.cancelScope(this.root, event.reason);
        // There is no body yet that could say otherwise.
        if (this.delayed) this.#escaped(this.root.cancelled);
        return;
      case 'terminated':
      case 'timed-out':
        return this.#end(event);
    }
  }

  /** What must be known of a journal even when its body cannot be replayed. */
  #remember(event: JournalEvent): void {
    if (event.kind === 'started') {
      this.#started = event;
      for (const id of event.signalIds ?? []) this.signalIds.add(id);
      for (const update of event.updates ?? []) {
        this.updates.set(update.id, update);
        this.namedUpdates.add(update.id);
      }
    }
    if (event.kind === 'signal-received' && event.id !== undefined) this.signalIds.add(event.id);
  }

  /** What of a journal is in the record (R5). */
  #rememberState(event: JournalEvent): void {
    if (event.kind === 'started') {
      Object.assign(this.attributes, event.attributes);
      this.#begunAt = event.begunAt;
    }
    if (event.kind === 'begun') this.#begunAt = event.at;
    if (event.kind === 'attributes-set') Object.assign(this.attributes, event.values);
    if (isClosing(event)) this.#closing = event;
  }

  #withOperation(event: JournalEvent & { op: number }, then: (operation: Operation) => void): void {
    const operation = this.#operations.get(event.op);
    if (operation === undefined) this.#fail(divergence(event.op, event, 'no such operation'));
    else then(operation);
  }

  #withStep(event: JournalEvent & { op: number }, then: (step: StepState) => void): void {
    this.#withOperation(event, (operation) => {
      if (operation.step !== undefined) then(operation.step);
    });
  }

  #settled(operation: Operation, event: SettlingEvent): void {
    const { payloads } = this.ports;
    const undo = operation.step?.options.compensate;
    if (event.kind === 'step-completed' && undo !== undefined) {
      const result = payloads.decode(event.payload);
      const fn = (step: StepContext): void | Promise<void> => undo(result, step);
      this.saga.add({ name: `undo ${operation.name}`, fn, options: {} });
    }
    if (event.kind === 'child-closed') this.children.delete(operation.name);
    this.settle(operation, settlementOf(operation, event, payloads)); // R1
  }

  /** An operation has settled, and is not told yet. */
  #left({ kind, name, op }: Operation): void {
    this.progress.forget(op);
    if (kind === 'receive') this.signals.leave(name, op);
  }

  #callBody(): void {
    const input = this.ports.payloads.decode(this.started.payload);
    this.#bodyCalled = true;
    void this.#main(input).then(
      (result) => this.#complete(result),
      (error: unknown) => this.#escaped(error),
    );
  }

  async #main(input: unknown): Promise<unknown> {
    try {
      return await this.#lived(input);
    } catch (thrown) {
      const error = legible(thrown);
      if (!(error instanceof Continuation)) await this.#compensate(error);
      throw error;
    }
  }

  /** The body and the handlers beside it; what it continues as waits for them too. */
  async #lived(input: unknown): Promise<unknown> {
    try {
      const body = this.#body(this, this.root, input);
      const result = await Promise.race([body, this.handlers.failure]);
      await this.handlers.done();
      return result;
    } catch (error) {
      if (legible(error) instanceof Continuation) await this.handlers.done();
      throw error;
    }
  }

  async #compensate(cause: unknown): Promise<void> {
    await this.#operations.stopCompensable(new CancelledError('the run has failed'));
    const shield = this.root.inner(true);
    this.#compensating = true;
    return this.saga.compensate(({ name, fn, options }) => {
      const step = { fn, options: options as StepOptions<unknown>, attempt: 1 };
      return this.schedule(shield, 'step', name, { step });
    }, cause);
  }

  #complete(result: unknown): void {
    try {
      const payload = this.ports.payloads.encode(
        result,
        `result of workflow "${this.identity.name}"`,
      );
      this.#finish({ kind: 'completed', at: this.#shellMs, payload });
    } catch (error) {
      this.#escaped(error);
    }
  }

  #escaped(error: unknown): void {
    if (error instanceof Continuation) {
      const next = { runId: this.ports.newRunId() };
      return this.#finish({ kind: 'continued', at: this.#shellMs, payload: error.input, next });
    }
    const at = this.#shellMs;
    if (error instanceof CancelledError && this.root.cancelled !== undefined) {
      return this.#finish({ kind: 'cancelled', at, reason: error.message });
    }
    const next = this.#retry(error);
    const failure = failureOf(error, this.ports.payloads);
    this.#finish({ kind: 'failed', at, error: failure, ...(next === undefined ? {} : { next }) });
  }

  /** The run that tries again, if the policy of the whole workflow says so. */
  #retry(error: unknown): NextRun | undefined {
    const { retry, attempt = 1 } = this.started;
    if (retry === undefined || isFinalForRun(error, retry)) return undefined;
    // Who cancelled it wants it to end, whatever its body makes of that.
    if (this.root.cancelled !== undefined) return undefined;
    const delayMs = retryDelayMs(retry, attempt, error, this.random, 1);
    if (delayMs === undefined) return undefined;
    return { runId: this.ports.newRunId(), notBefore: this.deadline(delayMs) };
  }

  #finish(event: ClosingEvent & CommandEvent): void {
    const recorded = this.command(event);
    if (recorded !== undefined) this.#end(recorded);
  }

  #end(event: ClosingEvent): void {
    this.#closing = event;
    this.#operations.drop({ abort: true });
  }

  #update(event: Extract<OutsideEvent, { kind: 'update-accepted' }>): void {
    this.updates.set(event.id, 'accepted');
    if (event.unnamed !== true) this.namedUpdates.add(event.id);
    const handler = this.handlers.update(event.name);
    if (handler === undefined) {
      return this.#fail(divergence(this.#operationCount + 1, event, 'no handler for it'));
    }
    const argument = this.ports.payloads.decode(event.payload);
    this.#runHandler(async () => {
      const done = { kind: 'update-completed', at: this.#shellMs, id: event.id } as const;
      let outcome: { payload: Json } | { error: ReturnType<typeof failureOf> };
      let continuation: Continuation | undefined;
      try {
        const result = await handler.run(argument);
        outcome = {
          payload: this.ports.payloads.encode(result, `result of update "${event.name}"`),
        };
      } catch (thrown) {
        const error = legible(thrown);
        if (error instanceof Continuation) continuation = error;
        outcome =
          continuation === undefined
            ? { error: failureOf(error, this.ports.payloads) }
            : { payload: this.ports.payloads.encode(undefined, 'nothing') };
      }
      const recorded = this.command({ ...done, ...outcome });
      if (recorded !== undefined) this.updates.set(event.id, recorded);
      // That was what the update wanted.
      if (continuation !== undefined) throw continuation;
    });
  }

  #fail(error: AetherError): void {
    if (this.#stuck !== undefined || this.#closing !== undefined) return;
    this.#stuck = error; // R4
    this.#operations.drop({ abort: false });
  }

  #advance(): Advance {
    return { events: this.#tape.take(), ...this.#operations.take() };
  }
}

const STRAY = 'from within a step or callback, or after the body awaited something else';

/** A stuck run begins once it is mended: its journal does not grow meanwhile. */
export function mayCallBody(run: Run): boolean {
  return run.delayed && run.stuck === undefined;
}

/** 128 bits of a digest: with fewer, two runs of many would draw the same ids. */
function seedOf(digest: string): [number, number, number, number] {
  const word = (i: number): number => Number.parseInt(digest.slice(8 * i, 8 * i + 8), 16);
  return [word(0), word(1), word(2), word(3)];
}

function unreadable(event: OutsideEvent, cause: Error): AetherError {
  return new AetherError(`what ${describeEvent(event)} carries cannot be read: ${cause.message}`, {
    code: 'ERR_ENGINE_PAYLOAD_UNREADABLE',
    hint: 'open the engine with the codec that wrote this store',
    cause,
  });
}

function foreignAwait(why: string): ForeignAwaitError {
  return new ForeignAwaitError(why, {
    hint: 'await only operations of ctx in a body; put everything else into ctx.step',
  });
}
