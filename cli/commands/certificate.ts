/** How a node stands in the lattice by its certificate, in words. */
import type { OwnCertificate } from '../../ring/index.ts';
import { spanText } from '../io/span.ts';

export interface CertificateReport {
  /** `disputed`: it holds here, and not by the clock of another voter. */
  verdict: 'good' | 'disputed' | 'overdue' | 'expired';
  text: string;
}

/**
 * @param certificate as `GET /v1/status` has it; undefined: the node has none.
 * @param nameOf a node's name by its id.
 */
export function certificateReport(
  certificate: OwnCertificate | undefined,
  nameOf: (id: string) => string,
  nowMs: number,
): CertificateReport {
  if (certificate === undefined) return { verdict: 'expired', text: 'none yet' };
  const { issuer, issuedSeconds, expiresSeconds, isOverdue, failure } = certificate;
  const leftMs = expiresSeconds * 1_000 - nowMs;
  const from = issuer === undefined ? 'a voter of before' : nameOf(issuer);
  const given = `from ${from}, renewed ${time(issuedSeconds)}`;
  const span = spanText(Math.abs(leftMs));
  const end =
    leftMs > 0
      ? `runs out ${time(expiresSeconds)}, in ${span}`
      : `ran out ${time(expiresSeconds)}, ${span} ago`;
  const why = failure === undefined ? '' : `: ${failure.message} (${failure.code})`;
  const isDisputed = failure?.code === 'ERR_RING_CLOCK';
  const verdict =
    leftMs <= 0 ? 'expired' : isOverdue ? 'overdue' : isDisputed ? 'disputed' : 'good';
  const said = {
    good: '',
    disputed: `; others may take it for none${why}`,
    overdue: `; its renewal is overdue${why}`,
    expired: `; its renewal is overdue${why}`,
  };
  return { verdict, text: `${given}; ${end}${said[verdict]}` };
}

function time(seconds: number): string {
  return new Date(seconds * 1_000).toISOString().replace('.000', '');
}
