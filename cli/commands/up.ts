/** `aether up`: one node in the foreground. */
import { readFile } from 'node:fs/promises';
import { durationMs } from '../../spec/duration.ts';
import { AetherError } from '../../spec/error.ts';
import type { Context } from '../context.ts';
import { type UpOptions, runNode } from '../daemon/up.ts';

/** The flags of `aether up`; `token` is a file, or `-` for standard input, so that it is on no command line. */
export interface UpFlags extends Omit<UpOptions, 'token' | 'roles' | 'certificateLifeMs'> {
  token?: string;
  role?: UpOptions['roles'];
  certificateLife?: string;
}

/** @returns the exit code */
export async function up(context: Context, flags: UpFlags): Promise<number> {
  const { token, role, certificateLife: life, ...options } = flags;
  return runNode({
    ...options,
    ...(role === undefined ? {} : { roles: role }),
    ...(life === undefined ? {} : { certificateLifeMs: durationMs(life) }),
    ...(token === undefined ? {} : { token: await readToken(context, token) }),
  });
}

async function readToken(context: Context, file: string): Promise<string> {
  if (file === '-')
    return Buffer.from(await context.stdin())
      .toString('utf8')
      .trim();
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new AetherError(`the join token in ${file} cannot be read: ${(error as Error).message}`, {
      code: 'ERR_USAGE',
      hint: '`aether cap mint join --data DIR > FILE` on a node of the lattice makes one',
      cause: error,
    });
  });
  return text.trim();
}
