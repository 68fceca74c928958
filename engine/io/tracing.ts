/**
 * Spans of starts, runs, steps and deliveries, for whoever has registered an OpenTelemetry tracer provider.
 *
 * X1. Without a provider nothing is made: no span, no context, no field in a journal.
 * X2. Spans are of what happens, never of what is replayed.
 * X3. The spans of a run belong to the trace of its start, which is in its journal: also after a restart, or a week's
 *     timer. What woke it from elsewhere, or ran before, is linked. Where the start has none, as a schedule's, each
 *     activation is a trace of its own.
 * X4. In a step's function the span of the attempt is active and nothing else of the engine's surroundings is.
 *
 * An **activation** is the time from what wakes a run until it only waits again; its span is the parent of what it did.
 * One that a crash cut short is never exported, but what ended before is.
 */
import {
  type Attributes,
  type Context,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import { formatTraceparent, parseTraceparent } from '../../spec/trace.ts';
import type { ClosingEvent, JournalEvent } from '../core/event.ts';
import type { Operation, StepState } from '../core/operation.ts';
import type { Run } from '../core/run.ts';
import type { RunIdentity } from '../core/run-ports.ts';
import type { Outcome } from './attempt.ts';
import type { Arrival, LiveRun } from './live-run.ts';

const SCOPE = 'aether/engine';

/** The span of an attempt. */
export interface AttemptSpan {
  /** Calls the step's function in it (X4). */
  readonly enter: <T>(act: () => T) => T;
  readonly end: (outcome: Outcome) => void;
}

export class Tracing {
  #provider: TracerProvider | undefined;
  #known: Tracer | undefined;

  /** The span that is active here, as a traceparent. */
  current(): string | undefined {
    if (this.#tracer() === undefined) return undefined;
    return traceparentOf(trace.getSpan(context.active()));
  }

  /**
   * Spans the start of a run.
   *
   * @param parent where no span is active, the trace that it belongs to.
   * @param act is given what the run's journal keeps (X3).
   */
  async start<S extends { id: string; runId: string }>(
    name: string,
    parent: string | undefined,
    act: (traceparent: string | undefined) => Promise<S>,
  ): Promise<S> {
    const tracer = this.#tracer();
    if (tracer === undefined) return act(parent);
    const active = context.active();
    const within = trace.getSpan(active) === undefined ? remote(parent, active) : active;
    const options = { kind: SpanKind.PRODUCER, attributes: { 'aether.workflow.name': name } };
    const span = tracer.startSpan(`start ${name}`, options, within);
    try {
      const started = await act(traceparentOf(span));
      span.setAttributes({
        'aether.workflow.id': started.id,
        'aether.workflow.run_id': started.runId,
      });
      return started;
    } catch (error) {
      failed(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  /** A run has something to do: its activation begins, unless it has. */
  wake(live: LiveRun, run: Run, event?: JournalEvent, link?: string): void {
    if (live.activation !== undefined) return;
    const tracer = this.#tracer();
    if (tracer === undefined) return;
    const started = event?.kind === 'started' ? event : run.started;
    const attributes: Attributes = { ...identify(run.identity) };
    if (event !== undefined) attributes['aether.woken_by'] = event.kind;
    const options = { attributes, links: linksTo(link ?? timerSetter(run, event)) };
    const parent = remote(started.trace);
    live.activation = tracer.startSpan(`run ${run.identity.name}`, options, parent);
  }

  /** A run only waits: its activation is over. */
  rest(live: LiveRun): void {
    live.activation?.end();
    live.activation = undefined;
  }

  /** What a run did in its activation is void. */
  lose(live: LiveRun, error: unknown): void {
    if (live.activation !== undefined) failed(live.activation, error);
    this.rest(live);
  }

  closed(live: LiveRun, event: ClosingEvent): void {
    live.activation?.setAttribute('aether.run.status', event.kind);
    if (event.kind === 'failed') failed(live.activation, event.error);
  }

  /** The activation that goes on, as a traceparent. */
  of(live: LiveRun): string | undefined {
    return traceparentOf(live.activation);
  }

  /** Calls what leads to a run's body, so that what it says of itself belongs to its trace. */
  within<T>({ activation }: LiveRun, act: () => T): T {
    return activation === undefined ? act() : context.with(inSpan(activation), act);
  }

  /** As `within`, where there is no activation (X2). */
  withinReplay<T>([started]: readonly JournalEvent[], act: () => T): T {
    if (started?.kind !== 'started' || this.#tracer() === undefined) return act();
    return context.with(remote(started.trace), act);
  }

  /** Spans the delivery of a signal or an update. @returns ends it, once the delivery is durable */
  delivery(
    { activation }: LiveRun,
    { identity }: Run,
    { event, trace: sender }: Arrival,
  ): ((error?: Error) => void) | undefined {
    if (activation === undefined) return undefined;
    if (event.kind !== 'signal-received' && event.kind !== 'update-accepted') return undefined;
    const tracer = this.#tracer();
    if (tracer === undefined) return undefined;
    const what = event.kind === 'signal-received' ? 'signal' : 'update';
    const attributes: Attributes = {
      ...identify(identity),
      [`aether.${what}.name`]: event.name,
      ...(event.id === undefined ? {} : { [`aether.${what}.id`]: event.id }),
    };
    const options = { kind: SpanKind.CONSUMER, attributes, links: linksTo(sender) };
    const span = tracer.startSpan(`${what} ${event.name}`, options, inSpan(activation));
    return (error) => {
      if (error !== undefined) failed(span, error);
      span.end();
    };
  }

  /** Spans an attempt of a step, linked to the one before. */
  attempt(
    live: LiveRun,
    run: Run,
    operation: Operation & { step: StepState },
  ): AttemptSpan | undefined {
    const { kind, name, op, step } = operation;
    this.wake(live, run, undefined, step.trace);
    const { activation } = live;
    const tracer = activation === undefined ? undefined : this.#tracer();
    if (tracer === undefined || activation === undefined) return undefined;
    const attributes = {
      ...identify(run.identity),
      'aether.step.name': name,
      'aether.step.attempt': step.attempt,
      'aether.step.operation': op,
    };
    const options = { attributes, links: linksTo(step.trace) };
    const span = tracer.startSpan(attemptName(kind, name), options, inSpan(activation));
    const own = traceparentOf(span);
    if (own !== undefined) step.trace = own;
    const active = inSpan(span); // X4
    return {
      enter: (act) => context.with(active, act),
      end: (outcome) => {
        if ('error' in outcome) failed(span, outcome.error);
        span.end();
      },
    };
  }

  /** X1. Asked each time, since a provider may be registered late; who asks again gets the same tracer. */
  #tracer(): Tracer | undefined {
    const provider = trace.getTracerProvider();
    if (provider !== this.#provider || this.#known === undefined) {
      this.#provider = provider;
      this.#known = registeredTracer(provider);
    }
    return this.#known;
  }
}

/** The API hands out a proxy, which has a tracer to delegate to once a provider is registered. */
function registeredTracer(provider: TracerProvider): Tracer | undefined {
  const { getDelegateTracer } = provider as {
    getDelegateTracer?: (name: string) => Tracer | undefined;
  };
  return getDelegateTracer === undefined
    ? provider.getTracer(SCOPE)
    : getDelegateTracer.call(provider, SCOPE);
}

function identify({ workflowId, runId, name, version }: RunIdentity): Attributes {
  return {
    'aether.workflow.id': workflowId,
    'aether.workflow.run_id': runId,
    'aether.workflow.name': name,
    'aether.workflow.version': version,
  };
}

/** Names of spans are of few kinds: those of operations that name another run by its id are left out. */
function attemptName(kind: Operation['kind'], name: string): string {
  if (kind === 'step' || kind === 'child') return `${kind} ${name}`;
  return `send ${kind}`;
}

/** The activation that set the timer which has fired now. */
function timerSetter(run: Run, event: JournalEvent | undefined): string | undefined {
  return event?.kind === 'timer-fired' ? run.operation(event.op)?.trace : undefined;
}

function inSpan(span: Span): Context {
  return trace.setSpan(ROOT_CONTEXT, span);
}

function remote(traceparent: string | undefined, base: Context = ROOT_CONTEXT): Context {
  const parent = remoteContext(traceparent);
  return parent === undefined ? base : trace.setSpanContext(base, parent);
}

function remoteContext(traceparent: string | undefined): SpanContext | undefined {
  const parsed = parseTraceparent(traceparent);
  return parsed === undefined ? undefined : { ...parsed, isRemote: true };
}

function linksTo(traceparent: string | undefined): Link[] {
  const linked = remoteContext(traceparent);
  return linked === undefined ? [] : [{ context: linked }];
}

function traceparentOf(span: Span | undefined): string | undefined {
  const spanContext = span?.spanContext();
  if (spanContext === undefined) return undefined;
  const traceparent = formatTraceparent(spanContext);
  return parseTraceparent(traceparent) === undefined ? undefined : traceparent;
}

function failed(span: Span | undefined, error: unknown): void {
  if (span === undefined) return;
  const message = (error as { message?: unknown } | null | undefined)?.message;
  span.recordException(error instanceof Error ? error : String(message ?? error));
  span.setStatus({
    code: SpanStatusCode.ERROR,
    ...(typeof message === 'string' ? { message } : {}),
  });
}
