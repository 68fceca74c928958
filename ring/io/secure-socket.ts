/** TLS 1.3 out to a node, and which node it is: over TCP, or inside a stream that another node carries. */
import { constants } from 'node:crypto';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { AetherError } from '../../spec/error.ts';
import { parseAddress } from './address.ts';
import { certifiedNode, IdentityError } from './certificate.ts';

export interface SecureSocketOptions {
  address: string;
  /** Where the node is met instead of at its address. */
  inside?: TLSSocket;
  /** The node that must answer; none = whichever does. */
  node?: string;
  /** PEM. */
  key: string;
  /** PEM. */
  certificate: string;
  /** Gives up. */
  signal: AbortSignal;
  /** Somebody has taken the connection; the handshake begins. */
  taken?: () => void;
}

/** Somebody took the connection, and did not come to the end of the handshake: it may have too much to do. Nothing is left open. */
export class UnansweredError extends AetherError {
  static override readonly code: string = 'ERR_RING_UNREACHABLE';
}

const NOBODY_THERE = 'check that a node listens there and that nothing blocks the way';
const OTHER_THERE =
  'a node that is busy is asked again; else check that the address is one that a node prints or was given with --listen, and not that of its ingress, its API or another program';
const HUNG_UP = 'it hung up before it showed that it is a node';
const NO_TLS = 'what answers there does not speak TLS 1.3, as nodes do';

/** By certificate, of the nodes of this process: to read key and certificate again takes as long as a handshake. */
const contexts = new Map<string, SecureContext>();
const CONTEXTS_MAX = 256;

function contextOf({
  key,
  certificate,
}: Pick<SecureSocketOptions, 'key' | 'certificate'>): SecureContext {
  const known = contexts.get(certificate);
  if (known !== undefined) return known;
  const context = createSecureContext({
    key,
    cert: certificate,
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  const [oldest] = contexts.keys();
  if (contexts.size >= CONTEXTS_MAX && oldest !== undefined) contexts.delete(oldest);
  contexts.set(certificate, context);
  return context;
}

/**
 * @throws IdentityError ERR_RING_IDENTITY when another than `node` answers.
 * @throws UnansweredError, AetherError ERR_RING_UNREACHABLE. Nothing is left open.
 */
export async function connectSecure(
  options: SecureSocketOptions,
): Promise<{ tls: TLSSocket; peer: string }> {
  const tls = await handshake(options);
  try {
    const peer = certifiedNode(tls.getPeerX509Certificate());
    if (options.node !== undefined && peer !== options.node) {
      throw new IdentityError(`${options.address} is node ${peer}, not ${options.node}`, {
        hint: 'the address belongs to another node now; the right one comes with gossip',
      });
    }
    return { tls, peer };
  } catch (error) {
    tls.destroy();
    throw error;
  }
}

function handshake({
  address,
  inside,
  signal,
  taken,
  ...options
}: SecureSocketOptions): Promise<TLSSocket> {
  return new Promise((done, fail) => {
    const socket = connect({
      ...(inside === undefined ? parseAddress(address) : { socket: inside }),
      secureContext: contextOf(options),
      // There is no authority to ask: the certificate is checked by the caller of this function.
      rejectUnauthorized: false,
    });
    let isTaken = false;
    socket.once('connect', () => {
      isTaken = true;
      taken?.();
    });
    const unreachable = (why: string, isThere = isTaken, hint = NOBODY_THERE): void => {
      socket.destroy();
      inside?.destroy();
      const Kind = isThere ? UnansweredError : AetherError;
      fail(
        new Kind(`cannot reach ${address}: ${why}`, {
          code: 'ERR_RING_UNREACHABLE',
          hint,
        }),
      );
    };
    socket.once('error', ({ code = '', message }: NodeJS.ErrnoException) => {
      // Who refuses or speaks something else is no node; who takes no more callers for the moment resets.
      if (code === 'ECONNRESET') unreachable(HUNG_UP, true, OTHER_THERE);
      else if (code.startsWith('ERR_SSL_')) unreachable(NO_TLS, false, OTHER_THERE);
      else unreachable(message, false);
    });
    socket.once('close', () => unreachable(HUNG_UP, isTaken, OTHER_THERE));
    const giveUp = (): void => unreachable('no answer in time');
    signal.addEventListener('abort', giveUp);
    socket.once('close', () => signal.removeEventListener('abort', giveUp));
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', giveUp);
      socket.removeAllListeners('close').removeAllListeners('error').setNoDelay(true);
      done(socket);
    });
    if (signal.aborted) giveUp();
  });
}
