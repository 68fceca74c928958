/** What the host and a guest worker say to each other. Plain data, cloned on the way. */
import type { ExportedFunction } from '../core/exported-functions.ts';
import type { HttpRequest, HttpResponse } from '../../spec/http.ts';

/** What a worker needs to run one revision of a Particle. */
export interface GuestProgram {
  /** File URL of the generated module. */
  glue: string;
  modules: Record<string, WebAssembly.Module>;
  imports: { interface: string; version: string }[];
  functions: Record<string, ExportedFunction>;
  env: Record<string, string>;
  config: Record<string, string>;
  /** Buckets that may be opened; each operation on them is checked in the host. */
  buckets: string[];
  /** Outgoing exchanges at the same time. */
  outbound: number;
}

export type GuestCall =
  /** Only instantiates. */
  | { kind: 'wake' }
  | { kind: 'http'; request: HttpRequest }
  | { kind: 'invoke'; name: string; args: unknown[] };

export type GuestOutcome =
  | { kind: 'done' }
  | { kind: 'response'; response: HttpResponse }
  | { kind: 'value'; value: unknown }
  | { kind: 'failed'; code: string; message: string; details?: unknown };

export type HostCall =
  | { kind: 'kv-get'; bucket: string; key: string }
  | { kind: 'kv-exists'; bucket: string; key: string }
  | { kind: 'kv-set'; bucket: string; key: string; value: Uint8Array }
  | { kind: 'kv-delete'; bucket: string; key: string }
  | { kind: 'kv-list'; bucket: string; after: string | undefined }
  | { kind: 'http'; request: HttpRequest };

/** `refused` is the tag of a variant of the interface that the guest called. */
export type HostReply =
  | { ok: true; value: unknown }
  | { ok: false; refused: string; message: string };

/** One key page of a bucket. */
export interface KeyPage {
  keys: string[];
  /** The last key that was looked at, when there may be more. */
  after: string | undefined;
}

export type ToWorker =
  | { kind: 'load'; revision: number; program: GuestProgram }
  | { kind: 'unload'; revision: number }
  | {
      kind: 'run';
      revision: number;
      instance: number;
      request: number;
      /** One Int32: who takes the request out of WAITING has it. */
      claim: SharedArrayBuffer;
      call: GuestCall;
    }
  | { kind: 'cancel'; request: number }
  | { kind: 'drop'; revision: number; instance: number }
  | { kind: 'reply'; call: number; reply: HostReply };

export type FromWorker =
  | { kind: 'ready' }
  | { kind: 'finished'; request: number; alive: boolean; outcome: GuestOutcome }
  | { kind: 'call'; call: number; request: number; body: HostCall }
  | { kind: 'log'; revision: number; stream: 'stdout' | 'stderr'; line: string };

/** States of a claim. */
export const WAITING = 0;
const BEGUN = 1;
const TAKEN_BACK = 2;

/** Called by the worker. @returns false when the host has taken the request back. */
export function begin(claim: SharedArrayBuffer): boolean {
  return Atomics.compareExchange(new Int32Array(claim), 0, WAITING, BEGUN) === WAITING;
}

/** Called by the host. @returns false when the worker has begun. */
export function takeBack(claim: SharedArrayBuffer): boolean {
  return Atomics.compareExchange(new Int32Array(claim), 0, WAITING, TAKEN_BACK) === WAITING;
}

export interface WorkerBoot {
  /** One Int32: the request whose guest code was entered last. */
  entered: SharedArrayBuffer;
}
