/**
 * Every interface that a component may import, and what it takes to get it. What is not in this table is refused.
 *
 * `baseline` reaches nothing outside the instance but time, chance, its own log and what the Aetherfile says to it.
 */
export type Access =
  | { kind: 'baseline' }
  /** Needs a grant of one of these kinds; `line` is one that would do. */
  | { kind: 'grant'; grants: readonly ('kv' | 'http' | 'invoke')[]; line: string }
  /** Known, and not done in this release. */
  | { kind: 'unavailable'; why: string };

const BASELINE: Access = { kind: 'baseline' };

export const INTERFACES: Readonly<Record<string, Access>> = {
  'wasi:io/error': BASELINE,
  'wasi:io/poll': BASELINE,
  'wasi:io/streams': BASELINE,
  'wasi:clocks/monotonic-clock': BASELINE,
  'wasi:clocks/wall-clock': BASELINE,
  'wasi:random/random': BASELINE,
  'wasi:random/insecure': BASELINE,
  'wasi:random/insecure-seed': BASELINE,
  // The Aetherfile's `env`, and nothing of the host.
  'wasi:cli/environment': BASELINE,
  'wasi:cli/exit': BASELINE,
  // Closed, log, log.
  'wasi:cli/stdin': BASELINE,
  'wasi:cli/stdout': BASELINE,
  'wasi:cli/stderr': BASELINE,
  // There is none.
  'wasi:cli/terminal-input': BASELINE,
  'wasi:cli/terminal-output': BASELINE,
  'wasi:cli/terminal-stdin': BASELINE,
  'wasi:cli/terminal-stdout': BASELINE,
  'wasi:cli/terminal-stderr': BASELINE,
  // No folder is open, and none can be opened.
  'wasi:filesystem/preopens': BASELINE,
  'wasi:filesystem/types': BASELINE,
  // Types of the exchange that the component answers; they send nothing.
  'wasi:http/types': BASELINE,
  // The Aetherfile's `config`.
  'wasi:config/runtime': BASELINE,
  'wasi:http/outgoing-handler': {
    kind: 'grant',
    grants: ['invoke', 'http'],
    line: '{kind: "invoke", particle: "NAME"} or {kind: "http", allow: ["HOST"]}',
  },
  'wasi:keyvalue/store': {
    kind: 'grant',
    grants: ['kv'],
    line: '{kind: "kv", bucket: "NAME", ops: ["get", "set"]}',
  },
  'wasi:keyvalue/atomics': { kind: 'unavailable', why: 'buckets have no atomic operations yet' },
  'wasi:keyvalue/batch': { kind: 'unavailable', why: 'buckets have no batch operations yet' },
  'wasi:blobstore/blobstore': { kind: 'unavailable', why: 'containers are not served yet' },
  'wasi:blobstore/container': { kind: 'unavailable', why: 'containers are not served yet' },
  'wasi:blobstore/types': { kind: 'unavailable', why: 'containers are not served yet' },
};

/** Drafts whose records differ from one another are named one by one; WASI 0.2.x only ever adds. */
const VERSIONS: Readonly<Record<string, RegExp>> = {
  keyvalue: /^0\.2\.0-draft2?$/,
  config: /^0\.2\.0-draft$/,
};
const WASI_02 = /^0\.2\.([0-9]|1[0-2])$/;

/** An import's interface name without its version, and the version. */
export function splitName(name: string): { interface: string; version: string | undefined } {
  const at = name.lastIndexOf('@');
  return at < 0
    ? { interface: name, version: undefined }
    : { interface: name.slice(0, at), version: name.slice(at + 1) };
}

/** @returns undefined for an interface, or a version of one, that no host here offers. */
export function accessOf(importName: string): Access | undefined {
  const { interface: name, version } = splitName(importName);
  if (!Object.hasOwn(INTERFACES, name) || version === undefined) return undefined;
  const pack = name.slice(name.indexOf(':') + 1, name.indexOf('/'));
  return (VERSIONS[pack] ?? WASI_02).test(version) ? INTERFACES[name] : undefined;
}
