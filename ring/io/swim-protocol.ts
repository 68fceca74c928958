/** What the main loop and the thread of membership say to each other. */
import type { MessagePort } from 'node:worker_threads';
import type { Log } from '../../spec/log.ts';
import { decodeMessage, encodeMessage } from '../core/frame.ts';
import type { Epoch } from '../core/epoch.ts';
import type { SwimMember } from '../core/swim-member.ts';
import type { MemberState } from '../core/swim-message.ts';
import type { SwimOptions } from '../core/swim-options.ts';
import type { OwnFacts } from '../core/swim-self.ts';
import type { RosterMember } from '../core/swim-view.ts';
import type { TransportLimits } from '../core/transport-limits.ts';
import type { TransportCounts } from './transport-counts.ts';

/** The cast that carries membership, on whichever lane. */
export const SWIM = 'swim';
/** The main loop shows that it moves this often. */
export const PULSE_INTERVAL_MS = 250;

/** How the thread opens its sockets. */
export interface SwimSockets {
  /** Where it listens; none: nowhere. */
  host: string | undefined;
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  lattice: string;
  limits: TransportLimits;
}

export interface SwimBoot {
  self: { id: string; incarnation: number; facts: OwnFacts };
  /** Incarnations up to this one are durable. */
  ceiling: number;
  swim: SwimOptions;
  sockets: SwimSockets;
  /** Where it listened last. */
  port: number | undefined;
  /** Where the membership of others was last dialled. */
  addresses: ReadonlyMap<string, string>;
  /** One BigInt64: when the main loop moved last, as `process.hrtime.bigint` counts. */
  pulse: SharedArrayBuffer;
  /** The main loop's clock is ahead of that count by so much. */
  clockAheadMs: number;
}

/** The first message to the thread; all others go by the port. */
export interface SwimStart {
  boot: SwimBoot;
  port: MessagePort;
}

/** What membership needs of the epoch. */
export type EpochView = Pick<Epoch, 'number' | 'issuers' | 'revoked'>;

export type ToSwim =
  /** `near`: members to whom there is a control link. */
  | { kind: 'roster'; epoch: EpochView; members: RosterMember[]; near: string[] }
  /** What this node shows of itself from now on: core/node-certificate.ts. */
  | { kind: 'certificate'; encoded: Uint8Array }
  | { kind: 'facts'; facts: OwnFacts }
  | { kind: 'link-lost'; id: string }
  /** What came by the control lane, an encoded cast. */
  | { kind: 'heard'; from: string; cast: Uint8Array }
  /** What was to go by an open control link: there is none. */
  | { kind: 'unlinked'; to: string; cast: Uint8Array }
  /** Incarnations up to this one are durable now. */
  | { kind: 'ceiling'; incarnation: number }
  | { kind: 'leave' }
  | { kind: 'stop' };

/** `rttMs`: smoothed, milliseconds. `load`: 0 to 1. */
export type Measured = [id: string, rttMs: number | undefined, load: number | undefined];

/** `any`: also by a control link that is to be opened; `open`: else it comes back; `copy`: if there is one, as it goes another way too. */
export type ControlWay = 'any' | 'open' | 'copy';

export type FromSwim =
  | { kind: 'listening'; port: number }
  | { kind: 'changed'; member: SwimMember; before: MemberState | undefined }
  /** What this node is to itself. */
  | { kind: 'own'; member: SwimMember }
  /** What probes have brought since the last time, and what the sockets have counted. */
  | { kind: 'measured'; members: Measured[]; counts: TransportCounts }
  /** To be sent by the control lane, an encoded cast. */
  | { kind: 'cast'; to: string; cast: Uint8Array; by: ControlWay }
  | { kind: 'epoch'; number: number; from: string }
  /** This incarnation is in use or about to be: more are to be made durable. */
  | { kind: 'incarnation'; incarnation: number }
  | { kind: 'slept' }
  | { kind: 'log'; level: keyof Log; fields: object; message: string };

/** A message of membership as it is sent. */
export function encodeCast(body: unknown): Uint8Array {
  return encodeMessage({ kind: 'cast', method: SWIM, body });
}

/** The body of an encoded cast. */
export function decodeCast(cast: Uint8Array): unknown {
  const message = decodeMessage(cast);
  return message.kind === 'cast' ? message.body : undefined;
}
