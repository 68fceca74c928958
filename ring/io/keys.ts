/** Ed25519 keys as files that only their owner can read. */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { AetherError } from '../../spec/error.ts';
import { makeFile, syncFolder } from './new-file.ts';

export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly secret: KeyObject;
  sign(message: Uint8Array): Uint8Array;
}

/** A key file that cannot be used. Nothing was changed. */
export class KeyFileError extends AetherError {
  static override readonly code: string = 'ERR_KEY_FILE';
}

/**
 * The key in the file; a new one, durable before it is returned, when there is no file.
 *
 * @throws KeyFileError as readKeyFile.
 */
export function openKeyFile(path: string): SigningKey {
  if (makeKeyFile(path)) syncFolder(dirname(path));
  return readKeyFile(path);
}

/**
 * Makes a new key unless there is a file. It is durable once its folder is synced (new-file.ts).
 *
 * @returns whether it was made.
 */
export function makeKeyFile(path: string): boolean {
  if (fs.existsSync(path)) return false;
  const { privateKey } = generateKeyPairSync('ed25519');
  const text = privateKey.export({ format: 'pem', type: 'pkcs8' });
  makeFile(path, (aside) => fs.writeFileSync(aside, text, { flag: 'wx', mode: 0o600 }));
  return true;
}

/**
 * @throws KeyFileError ERR_KEY_EXPOSED when others may read it, ERR_KEY_FILE when it is missing, a
 * link or not a key.
 */
export function readKeyFile(path: string): SigningKey {
  let file: number;
  try {
    file = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  } catch (cause) {
    throw new KeyFileError(`cannot open the key file ${path}`, {
      hint: 'it must be a file of this user, not a link',
      cause,
    });
  }
  try {
    const { mode, uid } = fs.fstatSync(file);
    if ((mode & 0o077) !== 0 || (process.getuid !== undefined && uid !== process.getuid())) {
      throw new KeyFileError(`others than this user can read the key file ${path}`, {
        code: 'ERR_KEY_EXPOSED',
        hint: `make it private: chmod 600 ${path} (and think about who read it)`,
      });
    }
    return signingKey(createPrivateKey(fs.readFileSync(file)));
  } catch (cause) {
    if (cause instanceof KeyFileError) throw cause;
    throw new KeyFileError(`${path} is not an ed25519 key`, {
      hint: 'restore the file, or start on an empty data folder',
    });
  } finally {
    fs.closeSync(file);
  }
}

/** PKCS #8 of an ed25519 seed: this head, then the 32 bytes (RFC 8410 §7). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

export function keyFromSeed(seed: Uint8Array): SigningKey {
  const der = Buffer.concat([PKCS8_HEAD, seed]);
  return signingKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
}

function signingKey(secret: KeyObject): SigningKey {
  if (secret.asymmetricKeyType !== 'ed25519') throw new KeyFileError('not an ed25519 key');
  const { x } = createPublicKey(secret).export({ format: 'jwk' });
  return {
    publicKey: new Uint8Array(Buffer.from(x as string, 'base64url')),
    secret,
    sign: (message) => new Uint8Array(sign(null, message, secret)),
  };
}
