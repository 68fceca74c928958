/** The import object of one instance: every host interface is made here, and none comes from a WASI shim. */
import { httpTypes, outgoingHandler } from './http.ts';
import { InputStream, IoError, OutputStream, Pollable, poll } from './io.ts';
import { keyValueStore } from './keyvalue.ts';
import type { GuestContext } from './resource.ts';
import {
  environment,
  exit,
  filesystem,
  insecureRandom,
  insecureSeed,
  monotonicClock,
  output,
  random,
  runtimeConfig,
  stdin,
  terminals,
  wallClock,
} from './system.ts';

type Make = (context: GuestContext, version: string) => Record<string, unknown>;

const MAKERS: Readonly<Record<string, Make>> = {
  'wasi:io/error': () => ({ Error: IoError }),
  'wasi:io/poll': () => ({ Pollable, poll }),
  'wasi:io/streams': () => ({ InputStream, OutputStream }),
  'wasi:clocks/monotonic-clock': monotonicClock,
  'wasi:clocks/wall-clock': () => wallClock,
  'wasi:random/random': () => random,
  'wasi:random/insecure': () => insecureRandom,
  'wasi:random/insecure-seed': () => insecureSeed,
  'wasi:cli/environment': environment,
  'wasi:cli/exit': () => exit,
  'wasi:cli/stdin': () => stdin,
  'wasi:cli/stdout': (context) => ({ getStdout: output(context.stdout) }),
  'wasi:cli/stderr': (context) => ({ getStderr: output(context.stderr) }),
  'wasi:filesystem/preopens': () => filesystem.preopens,
  'wasi:filesystem/types': () => filesystem.types,
  'wasi:http/types': () => httpTypes,
  'wasi:http/outgoing-handler': outgoingHandler,
  'wasi:keyvalue/store': keyValueStore,
  'wasi:config/runtime': runtimeConfig,
  ...Object.fromEntries(
    Object.entries(terminals).map(([name, made]) => [`wasi:cli/${name}`, () => made] as const),
  ),
};

/**
 * @param imports interfaces of a component that has passed checkImports, with their versions.
 * @returns an object that holds these and nothing else; jco asks for them without version.
 */
export function makeImports(
  imports: readonly { interface: string; version: string }[],
  context: GuestContext,
): Record<string, Record<string, unknown>> {
  const made: Record<string, Record<string, unknown>> = Object.create(null);
  for (const { interface: name, version } of imports) {
    made[name] = (MAKERS[name] as Make)(context, version);
  }
  return made;
}
