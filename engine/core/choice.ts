/** Options that are one word of a few. A word that is none of them must not pass for one: it could be the one that ends a run. */
import { AetherError } from '../../spec/error.ts';

/**
 * @param what is asked for, as the option is called
 * @param code that the error gets
 * @throws AetherError
 */
export function checkChoice(
  what: string,
  value: string | undefined,
  choices: readonly string[],
  code: string,
): void {
  if (value === undefined || choices.includes(value)) return;
  const known = choices.map((choice) => `'${choice}'`).join(', ');
  throw new AetherError(`${what} cannot be ${JSON.stringify(value)}`, {
    code,
    hint: `use one of ${known}, or leave it out`,
  });
}
