import { AetherError, type ErrorBody } from '../../spec/error.ts';

export function isErrorBody(value: unknown): value is ErrorBody {
  if (typeof value !== 'object' || value === null) return false;
  const { code, message, hint } = value as Partial<Record<keyof ErrorBody, unknown>>;
  return (
    typeof code === 'string' &&
    typeof message === 'string' &&
    (hint === undefined || typeof hint === 'string')
  );
}

/** The error that another node raised, for the caller here. */
export function rebuildError({ message, code, hint, details }: ErrorBody): AetherError {
  return new AetherError(message, {
    code,
    ...(hint === undefined ? {} : { hint }),
    ...(details === undefined ? {} : { details }),
  });
}
