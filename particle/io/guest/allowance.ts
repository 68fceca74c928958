/**
 * What an instance may make its worker hold outside of its own memory. Neither the cap on linear memory nor the engine's
 * heap limit would stop one guest from filling the thread that others share.
 */
export interface Allowance {
  bytes: number;
}

/** What one resource costs, with its handle in the generated code. */
const RESOURCE_BYTES = 256;
/** Copies that the generated code may make for a guest before the guest waits or is entered again. */
const COPIED_BYTES_MAX = 64 * 2 ** 20;

let current: Allowance = { bytes: 0 };
let copiedBytes = 0;

/** Says on whose account the next calls of a guest are: whoever lets a guest run calls this first. */
export function useAllowance(allowance: Allowance): void {
  current = allowance;
  copiedBytes = 0;
}

/** The base of every resource that a guest can get hold of; one too many is a trap. */
export class Resource {
  readonly #account = current;
  #heldBytes = 0;
  #isDisposed = false;

  /** @param bytes held besides the resource itself. */
  constructor(bytes = 0) {
    if (!this.hold(RESOURCE_BYTES + bytes)) throw new Error('too many resources at once');
  }

  /** Charges bytes to the instance until they are released. @returns false when it has no room for them. */
  protected hold(bytes: number): boolean {
    if (this.#isDisposed || bytes > this.#account.bytes) return false;
    this.#account.bytes -= bytes;
    this.#heldBytes += bytes;
    return true;
  }

  /** Gives back what was held and is now somebody else's. */
  protected release(bytes: number): void {
    if (this.#isDisposed) return;
    this.#account.bytes += bytes;
    this.#heldBytes -= bytes;
  }

  /** jco calls this when the guest drops its handle; the host, for what the guest has handed over. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.release(this.#heldBytes);
    this.#isDisposed = true;
  }
}

/** What one value that is read out of a guest's memory may become here: a place in an array, a string, a view. */
const ITEM_BYTES = 64;
const READS = /^get(Big)?(Int|Uint|Float)\d+$/;

/**
 * Bounds what the generated code copies out of a guest's memory, in this thread from now on.
 *
 * A list may be as long as the guest's memory, and a list of lists may name the same bytes a million times, each a copy of
 * its own. All of it is made before any host function is called; the copies of bytes lie outside of the heap that the
 * thread is limited to, and one large array beyond that limit ends the process. Too many are a trap.
 */
export function limitCopies(): void {
  charge(ArrayBuffer.prototype, 'slice');
  charge(TextDecoder.prototype, 'decode');
  for (const name of Object.getOwnPropertyNames(DataView.prototype)) {
    if (READS.test(name)) charge(DataView.prototype, name);
  }
}

/** Counts what each call of a method makes, by its result: a size that the guest names may be any number. */
function charge(prototype: object, name: string): void {
  const plain = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
  Object.defineProperty(prototype, name, {
    value(this: unknown, ...args: unknown[]): unknown {
      const result = Reflect.apply(plain, this, args);
      countCopy(ITEM_BYTES + sizeOf(result));
      return result;
    },
  });
}

function sizeOf(result: unknown): number {
  if (typeof result === 'string') return result.length;
  return result instanceof ArrayBuffer ? result.byteLength : 0;
}

function countCopy(bytes: number): void {
  copiedBytes += bytes;
  if (copiedBytes > COPIED_BYTES_MAX)
    throw new RangeError('too much was passed to the host at once');
}
