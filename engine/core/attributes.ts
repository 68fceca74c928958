/** Searchable attributes: what a store can hold beside the journal, and find. */
import { PayloadTooLargeError, PayloadTypeError } from './errors.ts';
import type { Attributes } from './event.ts';

/**
 * A copy of attributes as programs give them.
 *
 * @param bytesMax of their JSON.
 * @throws PayloadTypeError, PayloadTooLargeError
 */
export function checkedAttributes(values: Attributes, bytesMax: number): Attributes {
  for (const [key, value] of Object.entries<unknown>(values)) {
    const fits =
      value === null ||
      typeof value === 'string' ||
      typeof value === 'boolean' ||
      (typeof value === 'number' && Number.isFinite(value));
    if (fits && key !== '__proto__') continue;
    throw new PayloadTypeError(`attribute ${JSON.stringify(key)} cannot be searched for`, {
      hint: 'values are strings, finite numbers, booleans or null; a key is not __proto__',
    });
  }
  const bytes = JSON.stringify(values).length;
  if (bytes <= bytesMax) return { ...values };
  throw new PayloadTooLargeError(`the attributes take ${bytes} bytes, the limit is ${bytesMax}`, {
    hint: 'attributes are for finding runs; put data into the input',
    details: { bytes, limit: bytesMax },
  });
}
