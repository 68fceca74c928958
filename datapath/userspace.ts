/**
 * The userspace tier: every exchange with a Particle goes through `dial`, where policy, choice of backend, counters and
 * flow events live. Runs anywhere, needs no rights.
 *
 * U1. No exchange reaches a backend before its verdict is `allowed` (policy P1).
 * U2. An exchange is offered to a second backend only when the first one saw nothing of it, so none runs twice here.
 */
import type { App } from '../spec/aetherfile/app.ts';
import { AetherError } from '../spec/error.ts';
import type { Clock } from '../spec/clock.ts';
import type { HttpRequest, HttpResponse } from '../spec/http.ts';
import {
  type Identity,
  type Service,
  type Verdict,
  decide,
  identityText,
  serviceText,
} from './core/policy.ts';

/** An exchange that policy refused. Nothing was sent. */
export class DeniedError extends AetherError {
  static override readonly code = 'ERR_DATAPATH_DENIED';
}

/** No backend of the service could be reached. Nothing was sent. */
export class NoBackendError extends AetherError {
  static override readonly code = 'ERR_DATAPATH_NO_BACKEND';
}

/** What the datapath needs of the lattice. */
export interface DatapathPorts {
  clock: Clock;
  /** The app as deployed, for its policy. */
  app(name: string): App | undefined;
  /** Nodes that may serve it, best first. */
  backends(service: Service): string[];
  /**
   * Carries one exchange to a node and back.
   * @throws AetherError; `ERR_RING_UNREACHABLE` promises that nothing was sent, `ERR_RING_UNKNOWN_METHOD` that the node
   * is starting and ran nothing.
   */
  carry(node: string, service: Service, request: HttpRequest): Promise<HttpResponse>;
}

/** One exchange as seen by the datapath. */
export interface Flow {
  at: number;
  from: string;
  to: string;
  method: string;
  path: string;
  verdict: 'allowed' | 'audited' | 'denied';
  rule: string;
  node?: string;
  /** HTTP status, or 0 when no answer came. */
  status: number;
  durationMs: number;
  source: 'userspace';
}

/** A dialled service: exchanges go to one of its backends. */
export interface Connection {
  exchange(request: HttpRequest): Promise<{ node: string; response: HttpResponse }>;
}

/** Codes by which a node says that it saw nothing of an exchange. */
const NOTHING_RUN: ReadonlySet<string> = new Set([
  'ERR_RING_UNREACHABLE',
  'ERR_RING_UNKNOWN_METHOD',
]);

/** Flows kept for readers that come late. */
const FLOWS_KEPT = 1_000;

export class UserspaceDatapath {
  readonly #ports: DatapathPorts;
  readonly #flows: Flow[] = [];
  readonly #listeners = new Set<(flow: Flow) => void>();

  constructor(ports: DatapathPorts) {
    this.#ports = ports;
  }

  /**
   * Opens a service for a caller.
   *
   * `exchange` throws DeniedError (nothing sent), NoBackendError (nothing sent) or the backend's error (outcome unknown
   * to the caller).
   */
  dial(identity: Identity, service: Service): Connection {
    return { exchange: (request) => this.#exchange(identity, service, request) };
  }

  /** The newest flows, oldest first. */
  flows(): readonly Flow[] {
    return this.#flows;
  }

  /** @returns ends the subscription. */
  onFlow(listener: (flow: Flow) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #exchange(
    identity: Identity,
    service: Service,
    request: HttpRequest,
  ): Promise<{ node: string; response: HttpResponse }> {
    const { clock } = this.#ports;
    const verdict = decide(this.#ports.app(service.app), identity, service, request);
    const flow: Flow = {
      at: clock.nowMs(),
      from: identityText(identity),
      to: serviceText(service),
      method: request.method,
      path: request.path,
      verdict: verdict.audited ? 'audited' : verdict.allowed ? 'allowed' : 'denied',
      rule: verdict.rule,
      status: 0,
      durationMs: 0,
      source: 'userspace',
    };
    const startedMs = clock.monotonicMs();
    try {
      if (!verdict.allowed) throw denied(identity, service, verdict); // U1
      const { node, answer: response } = await offer(
        service,
        this.#ports.backends(service),
        (backend) => this.#ports.carry(backend, service, request),
      );
      flow.node = node;
      flow.status = response.status;
      return { node, response };
    } finally {
      flow.durationMs = clock.monotonicMs() - startedMs;
      this.#record(flow);
    }
  }

  #record(flow: Flow): void {
    this.#flows.push(flow);
    if (this.#flows.length > FLOWS_KEPT) this.#flows.shift();
    for (const listener of this.#listeners) listener(flow);
  }
}

/**
 * Asks a service's backends one after the other, until one has seen the question (U2).
 *
 * @throws NoBackendError (nothing sent), or the error of the backend that was asked.
 */
export async function offer<T>(
  service: Service,
  backends: readonly string[],
  ask: (node: string) => Promise<T>,
): Promise<{ node: string; answer: T }> {
  for (const node of backends) {
    try {
      return { node, answer: await ask(node) };
    } catch (error) {
      if (!AetherError.is(error) || !NOTHING_RUN.has(error.code)) throw error;
    }
  }
  throw new NoBackendError(
    backends.length === 0
      ? `no live node serves ${serviceText(service)}`
      : `none of ${backends.length} nodes that serve ${serviceText(service)} can be reached`,
    { hint: '`aether ring status` shows which nodes are up' },
  );
}

function denied(identity: Identity, service: Service, verdict: Verdict): DeniedError {
  return new DeniedError(
    `${identityText(identity)} > ${serviceText(service)} is denied: ${verdict.rule}`,
    verdict.allowWith === undefined
      ? {}
      : { hint: `to allow it, add to the Aetherfile: ${verdict.allowWith}` },
  );
}
