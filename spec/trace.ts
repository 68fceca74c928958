/** W3C Trace Context, level 1: which trace a request belongs to, told by its `traceparent` header. */
import type { Random } from './random.ts';

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

export interface TraceParent {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  /** One byte; its lowest bit: the trace is sampled. */
  readonly traceFlags: number;
}

/** @returns undefined for a header that is missing or malformed, or that names no trace */
export function parseTraceparent(header: string | undefined): TraceParent | undefined {
  const [, traceId = '', spanId = '', flags = ''] = TRACEPARENT.exec(header ?? '') ?? [];
  if (/^0*$/.test(traceId) || /^0*$/.test(spanId)) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) };
}

export function formatTraceparent({ traceId, spanId, traceFlags }: TraceParent): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

/**
 * The header for the next hop: the same trace under a new span, or a new trace where none came in.
 *
 * @param header the header that came in; one that is malformed counts as none (§3.2.2.3: restart the trace).
 */
export function continueTrace(header: string | undefined, random: Random): string {
  const { traceId, traceFlags } = parseTraceparent(header) ?? {
    traceId: hex(random, 16),
    traceFlags: 1,
  };
  return formatTraceparent({ traceId, spanId: hex(random, 8), traceFlags });
}

/** Random bytes in hex; never all zeros, which would mean "no id". */
function hex(random: Random, bytes: number): string {
  let text = '';
  for (let i = 0; i < bytes; i++) {
    const byte = Math.floor(random.next() * 256);
    text += (i === 0 ? byte | 1 : byte).toString(16).padStart(2, '0');
  }
  return text;
}
