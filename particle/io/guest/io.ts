/** wasi:io over bytes that are in memory: reads never wait, writes go to a sink with a limit. */
import { Resource } from './allowance.ts';
import { Refusal } from './resource.ts';

const READ_BYTES_MAX = 65_536;
const WRITE_BYTES_MAX = 65_536;
/** Guests that write more than `check-write` permits are borne with, up to here. */
const CHUNK_BYTES_MAX = 2 ** 20;

export class IoError extends Resource {
  readonly #text: string;

  constructor(text: string) {
    super();
    this.#text = text;
  }

  toDebugString(): string {
    return this.#text;
  }
}

const closed = (): Refusal => new Refusal({ tag: 'closed' });

/** Ready when `isReady` says so; `wait` resolves when it has become so. */
export class Pollable extends Resource {
  readonly #isReady: () => boolean;
  readonly #wait: () => Promise<void>;

  constructor(isReady: () => boolean, wait: () => Promise<void>) {
    super();
    this.#isReady = isReady;
    this.#wait = wait;
  }

  static readonly always = (): Pollable =>
    new Pollable(
      () => true,
      () => Promise.resolve(),
    );

  ready(): boolean {
    return this.#isReady();
  }

  async block(): Promise<void> {
    while (!this.#isReady()) await this.#wait();
  }
}

export async function poll(pollables: Pollable[]): Promise<Uint32Array> {
  // An empty list is a trap (wasi:io/poll).
  if (pollables.length === 0) throw new Error('poll of nothing');
  for (;;) {
    const ready = [...pollables.keys()].filter((index) => pollables[index]?.ready());
    if (ready.length > 0) return Uint32Array.from(ready);
    await Promise.race(pollables.map((pollable) => pollable.block()));
  }
}

export class InputStream extends Resource {
  #rest: Uint8Array;

  constructor(bytes: Uint8Array) {
    super(bytes.length);
    this.#rest = bytes;
  }

  read(length: bigint): Uint8Array {
    if (this.#rest.length === 0) throw closed();
    const count = Math.min(Number(length), this.#rest.length, READ_BYTES_MAX);
    const chunk = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return chunk;
  }

  blockingRead(length: bigint): Uint8Array {
    return this.read(length);
  }

  skip(length: bigint): bigint {
    return BigInt(this.read(length).length);
  }

  blockingSkip(length: bigint): bigint {
    return this.skip(length);
  }

  subscribe(): Pollable {
    return Pollable.always();
  }
}

export class OutputStream extends Resource {
  readonly #sink: (chunk: Uint8Array) => boolean;
  #hasFailed = false;

  /** @param sink takes a chunk over, or answers false when it has no room for it: then the stream has failed. */
  constructor(sink: (chunk: Uint8Array) => boolean) {
    super();
    this.#sink = sink;
  }

  checkWrite(): bigint {
    return BigInt(WRITE_BYTES_MAX);
  }

  write(chunk: Uint8Array): void {
    if (chunk.length > CHUNK_BYTES_MAX)
      throw new Error('more was written than check-write permits');
    // The chunk may be a view of the guest's memory, which the guest overwrites.
    this.#hasFailed ||= !this.#sink(chunk.slice());
    if (!this.#hasFailed) return;
    throw new Refusal({ tag: 'last-operation-failed', val: new IoError('size limit reached') });
  }

  blockingWriteAndFlush(chunk: Uint8Array): void {
    this.write(chunk);
  }

  flush(): void {}

  blockingFlush(): void {}

  subscribe(): Pollable {
    return Pollable.always();
  }

  writeZeroes(length: bigint): void {
    if (length > BigInt(WRITE_BYTES_MAX)) throw closed();
    this.write(new Uint8Array(Number(length)));
  }

  blockingWriteZeroesAndFlush(length: bigint): void {
    this.writeZeroes(length);
  }

  splice(source: InputStream, length: bigint): bigint {
    const chunk = source.read(length);
    this.write(chunk);
    return BigInt(chunk.length);
  }

  blockingSplice(source: InputStream, length: bigint): bigint {
    return this.splice(source, length);
  }
}
