import { AetherError } from '../spec/error.ts';

/** A command line that cannot be carried out as it stands. Nothing was done. */
export function usageError(message: string, hint: string): AetherError {
  return new AetherError(message, { code: 'ERR_USAGE', hint });
}
