/** W3C Trace Context, level 1: which trace a request belongs to, told by its `traceparent` header. */
import type { Random } from './random.ts';

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/**
 * The header for the next hop: the same trace under a new span, or a new trace where none came in.
 *
 * @param header the header that came in; one that is malformed counts as none (§3.2.2.3: restart the trace).
 */
export function continueTrace(header: string | undefined, random: Random): string {
  const [, trace, parent, flags] = TRACEPARENT.exec(header ?? '') ?? [];
  const isValid = trace !== undefined && !/^0+$/.test(trace) && !/^0+$/.test(parent ?? '');
  return `00-${isValid ? trace : hex(random, 16)}-${hex(random, 8)}-${isValid ? flags : '01'}`;
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
