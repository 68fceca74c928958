/** wasi:clocks, random, cli, filesystem and config: time, chance, a log, the Aetherfile's words, and nothing of the host. */
import { getRandomValues } from 'node:crypto';
import type { LogGate } from '../../core/log-gate.ts';
import { InputStream, OutputStream, Pollable } from './io.ts';
import { type GuestContext, GuestExit } from './resource.ts';

type Interface = Record<string, unknown>;

const NS_PER_MS = 1_000_000n;
/** The finest step that a guest sees: enough for timing work, too coarse for timing caches. */
const RESOLUTION_NS = 100_000n;
const RANDOM_BYTES_MAX = 65_536;

const coarse = (ns: bigint): bigint => ns - (ns % RESOLUTION_NS);

const monotonicNs = (): bigint => coarse(process.hrtime.bigint());

export function monotonicClock(context: GuestContext): Interface {
  const at = (whenNs: bigint): Pollable => {
    // One timer for each pollable, however often it is polled.
    let wait: Promise<void> | undefined;
    const sleep = (): Promise<void> =>
      context.sleep(Number((whenNs - monotonicNs()) / NS_PER_MS) + 1).finally(() => {
        wait = undefined;
      });
    return new Pollable(
      () => monotonicNs() >= whenNs,
      () => (wait ??= sleep()),
    );
  };
  return {
    now: monotonicNs,
    resolution: () => RESOLUTION_NS,
    subscribeInstant: at,
    subscribeDuration: (ns: bigint) => at(monotonicNs() + ns),
  };
}

export const wallClock: Interface = {
  now() {
    const nowMs = Date.now();
    return { seconds: BigInt(Math.floor(nowMs / 1000)), nanoseconds: (nowMs % 1000) * 1e6 };
  },
  resolution: () => ({ seconds: 0n, nanoseconds: Number(NS_PER_MS) }),
};

const randomBytes = (length: bigint): Uint8Array => {
  if (length > RANDOM_BYTES_MAX) throw new Error('too many random bytes at once');
  return getRandomValues(new Uint8Array(Number(length)));
};

const randomU64 = (): bigint => getRandomValues(new BigUint64Array(1))[0] as bigint;

export const random: Interface = { getRandomBytes: randomBytes, getRandomU64: randomU64 };

export const insecureRandom: Interface = {
  getInsecureRandomBytes: randomBytes,
  getInsecureRandomU64: randomU64,
};

export const insecureSeed: Interface = { insecureSeed: () => [randomU64(), randomU64()] };

export function environment(context: GuestContext): Interface {
  return {
    getEnvironment: () => Object.entries(context.env),
    getArguments: () => [],
    initialCwd: () => undefined,
  };
}

export const exit: Interface = {
  exit(): never {
    throw new GuestExit('the component called exit');
  },
};

export const stdin: Interface = { getStdin: () => new InputStream(new Uint8Array()) };

export function output(gate: LogGate): () => OutputStream {
  return () =>
    new OutputStream((chunk) => {
      gate.write(chunk, performance.now());
      return true;
    });
}

/** jco asks for the class of every resource; nobody ever has one of these. */
class NoResource {
  [Symbol.dispose](): void {}
}

export const terminals: Record<string, Interface> = {
  'terminal-input': { TerminalInput: NoResource },
  'terminal-output': { TerminalOutput: NoResource },
  'terminal-stdin': { getTerminalStdin: () => undefined },
  'terminal-stdout': { getTerminalStdout: () => undefined },
  'terminal-stderr': { getTerminalStderr: () => undefined },
};

/** Without a preopened folder a guest has no descriptor, so the methods of one cannot be reached. */
export const filesystem: { preopens: Interface; types: Interface } = {
  preopens: { Descriptor: NoResource, getDirectories: () => [] },
  types: {
    Descriptor: NoResource,
    DirectoryEntryStream: NoResource,
    filesystemErrorCode: () => undefined,
  },
};

export function runtimeConfig(context: GuestContext): Interface {
  return {
    get: (key: string) => (Object.hasOwn(context.config, key) ? context.config[key] : undefined),
    getAll: () => Object.entries(context.config),
  };
}
