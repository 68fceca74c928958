import { relative, resolve } from 'node:path';
import { AetherError } from '../../spec/error.ts';

/** Longest path that the kernel takes for a unix socket, in bytes (sun_path less its end). */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * A path by which this process can name a socket: as given, or from its working folder when only that is short enough.
 *
 * @throws AetherError ERR_ADDRESS when neither is.
 */
export function socketPath(path: string, workingFolder: string): string {
  const fits = [path, relative(workingFolder, resolve(workingFolder, path))].find(
    (name) => Buffer.byteLength(name) <= SOCKET_PATH_BYTES_MAX,
  );
  if (fits !== undefined) return fits;
  throw new AetherError(`${path} is longer than a unix socket's name may be`, {
    code: 'ERR_ADDRESS',
    hint: `at most ${SOCKET_PATH_BYTES_MAX} bytes: name a shorter path with --api, or host:port`,
  });
}
