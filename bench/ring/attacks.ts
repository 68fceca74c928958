/**
 * What an attack costs honest nodes: calls and quorum reads of members while strangers and a member flood, beside
 * the same without an attack, in the same run.
 *
 * The node that is attacked, the honest member and the attacker are a process each.
 */
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import { encode } from '../../ring/core/codec.ts';
import { parseTokenText } from '../../ring/core/token.ts';
import { mintJoinToken, Ring } from '../../ring/index.ts';
import { createCertificate } from '../../ring/io/certificate.ts';
import { type Hello, helloHeaders } from '../../ring/io/hello.ts';
import { keyFromSeed, readKeyFile, type SigningKey } from '../../ring/io/keys.ts';
import { RingStore } from '../../ring/io/ring-store.ts';
import { nodeId } from '../../spec/id.ts';
import { Medians, percentile } from '../medians.ts';
import type { BenchOptions, BenchResult, Bound, Figure } from '../report.ts';

const BENCH = 'ring';
/** First arguments of this file as a process of its own. */
const ROLES = { target: 'attack-target', attacker: 'attack-attacker' };
const KINDS = ['connections', 'joins', 'slow', 'casts', 'calls', 'pings', 'dense'] as const;
type Kind = (typeof KINDS)[number];
const RATIO_MAX = 2;
/** Of the honest member: far from filling a core, as an attack shall, and enough for a percentile. */
const CALLS_PER_SECOND = 500;
const WARM_UP_MS = 500;
/** What a quiet time lets through at once is used up by then. */
const ATTACK_WARM_UP_MS = 3_000;
/** USER_HZ of Linux. */
const TICK_MS = 10;
/** Loopback has many addresses. */
const ELSEWHERE = '127.0.0.66';

/** The cases `attack-KIND` that are wanted: `p99Ms` and `rssMiB` of `aether` beside those of `quiet`, and `attackerCpu`. */
export async function attacks(options: BenchOptions): Promise<BenchResult> {
  const kinds = KINDS.filter(
    (kind) =>
      options.cases.length === 0 ||
      options.cases.some((each) => each === 'attack' || each === `attack-${kind}`),
  );
  if (kinds.length === 0) return { figures: [], bounds: [] };
  const folder = mkdtempSync(join(process.env['AETHER_BENCH_DIR'] ?? '/var/tmp', 'aether-bench-'));
  const target = fork(import.meta.filename, [ROLES.target, join(folder, 'target')]);
  let honest: Ring | undefined;
  const medians = new Medians();
  try {
    const [{ address, id, tokens }] = (await once(target, 'message')) as [Ready];
    honest = await Ring.open({ data: join(folder, 'honest'), join: [address], token: tokens[0] });
    const taken = { data: join(folder, 'taken'), join: [address], token: tokens[1] };
    await (await Ring.open({ ...taken, roles: ['compute'] })).close();
    for (let round = 1; round <= options.rounds; round++) {
      for (const kind of kinds) {
        options.progress(`round ${round}/${options.rounds}: attack-${kind}`);
        for (const subject of ['quiet', 'aether'] as const) {
          const args = [ROLES.attacker, kind, address, taken.data, tokens[2]];
          const attacker = subject === 'quiet' ? undefined : fork(import.meta.filename, args);
          if (attacker !== undefined) await underWay(attacker);
          const [fromMs, fromCpuMs] = [performance.now(), cpuMsOf(attacker)];
          const p99Ms = await measure(honest, id, options.secondsPerCase);
          const attackerCpu = (cpuMsOf(attacker) - fromCpuMs) / (performance.now() - fromMs);
          medians.add(kind, subject, 'p99Ms', p99Ms);
          medians.add(kind, subject, 'rssMiB', rssOf(target));
          if (attacker === undefined) continue;
          medians.add(kind, subject, 'attackerCpu', attackerCpu * 100);
          await end(attacker);
        }
      }
    }
  } finally {
    await honest?.close();
    await end(target);
    rmSync(folder, { recursive: true, force: true });
  }
  return report(kinds, medians);
}

interface Ready {
  address: string;
  id: string;
  tokens: [string, string, string];
}

function report(kinds: readonly Kind[], medians: Medians): BenchResult {
  const figures: Figure[] = [];
  const bounds: Bound[] = [];
  for (const kind of kinds) {
    const name = `attack-${kind}`;
    figures.push({
      bench: BENCH,
      case: name,
      subject: 'aether',
      metric: 'attackerCpu',
      value: medians.value(kind, 'aether', 'attackerCpu'),
      unit: '%',
    });
    for (const [metric, unit] of [
      ['p99Ms', 'ms'],
      ['rssMiB', 'MiB'],
    ] as const) {
      for (const subject of ['aether', 'quiet'])
        figures.push({
          bench: BENCH,
          case: name,
          subject,
          metric,
          value: medians.value(kind, subject, metric),
          unit,
        });
      const ratio = medians.value(kind, 'aether', metric) / medians.value(kind, 'quiet', metric);
      bounds.push({
        bench: BENCH,
        case: name,
        text: `${metric} at most ${RATIO_MAX} times that without an attack; measured ${ratio.toFixed(2)}`,
        holds: ratio <= RATIO_MAX,
      });
    }
  }
  return { figures, bounds };
}

/** Calls to the node under attack at their own pace, each timed from when it was due. @returns p99, milliseconds. */
async function measure(ring: Ring, node: string, seconds: number): Promise<number> {
  const latencies: Promise<number>[] = [];
  const fromMs = performance.now() + WARM_UP_MS;
  const untilMs = fromMs + seconds * 1_000;
  const call = async (dueMs: number): Promise<number> => {
    await ring.rpc.call(node, 'bench.echo', 'body', { timeoutMs: 30_000 });
    return performance.now() - dueMs;
  };
  for (let dueMs = performance.now(); dueMs < untilMs; dueMs += 1_000 / CALLS_PER_SECOND) {
    while (performance.now() < dueMs) await new Promise((wake) => void setTimeout(wake, 1));
    const called = call(dueMs);
    if (dueMs >= fromMs) latencies.push(called);
  }
  return percentile(await Promise.all(latencies), 0.99);
}

/** @returns resident memory of the process, MiB. */
function rssOf(process_: ChildProcess): number {
  const status = readFileSync(`/proc/${process_.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024;
}

/** @returns what the process has had of the CPU, milliseconds; none: 0. */
function cpuMsOf(process_: ChildProcess | undefined): number {
  if (process_ === undefined) return 0;
  const stat = readFileSync(`/proc/${process_.pid}/stat`, 'utf8');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(user) + Number(system)) * TICK_MS;
}

/**
 * An attacker has a machine of its own; here it gets what the two others leave of this one. Priorities are not enough for that:
 * the scheduler lets who runs end its slice of a millisecond or so, however nice it is, unless it is of the class `idle`.
 */
async function underWay(attacker: ChildProcess): Promise<void> {
  execFileSync('chrt', ['--all-tasks', '--idle', '--pid', '0', String(attacker.pid)]);
  const ended = once(attacker, 'exit').then(() => Promise.reject(new Error('the attacker died')));
  await Promise.race([once(attacker, 'message'), ended]);
  ended.catch(() => {});
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function serveTarget(data: string): Promise<void> {
  const ring = await Ring.open({ data });
  ring.rpc.serve('bench.echo', (body) => body);
  const tokens = Array.from({ length: 3 }, () => mintJoinToken(data));
  process.on('disconnect', () => process.exit());
  process.send?.({ address: ring.address, id: ring.id, tokens });
}

/** Floods without end. @param taken the folder of a member, whose key and certificate the attacker has. */
async function attack(kind: Kind, address: string, taken: string, token: string): Promise<void> {
  const [host = '', port] = address.split(':');
  const from = { host, port: Number(port), localAddress: ELSEWHERE };
  const credentials = (key: SigningKey): { key: string; cert: string } => ({
    key: key.secret.export({ format: 'pem', type: 'pkcs8' }),
    cert: createCertificate(key),
  });
  const webSocket = (key: SigningKey, hello: Hello = { epoch: 0 }): WebSocket => {
    const options = { ...credentials(key), ...from, rejectUnauthorized: false };
    const tls = connectTls(options);
    tls.on('error', () => {});
    const socket = new WebSocket(`wss://${address}/control`, 'aether.1', {
      createConnection: () => tls,
      headers: helloHeaders(hello),
    });
    return socket.on('error', () => {});
  };
  const ended = (socket: Socket | WebSocket): Promise<void> =>
    new Promise((done) => void socket.once('close', () => done()));
  const frame = (messages: unknown): Uint8Array =>
    Buffer.concat([Buffer.from([1]), encode(messages)]);
  const again = (count: number, once_: (i: number) => Promise<void>): void => {
    for (let i = 0; i < count; i++)
      void (async () => {
        for (let n = i; ; n += count) {
          await once_(n);
          await new Promise((wake) => setImmediate(wake));
        }
      })();
  };
  /** As one member, as fast as the socket takes it, and anew when it is closed. */
  const member = (send: (socket: WebSocket, sent: () => void) => void): void => {
    const store = new RingStore(join(taken, 'ring.db'));
    const [lattice, certificate] = [store.lattice() ?? '', store.nodeCertificate()];
    store.close();
    const hello = { lattice, epoch: 1, ...(certificate === undefined ? {} : { certificate }) };
    again(1, async () => {
      const socket = webSocket(readKeyFile(join(taken, 'node.key')), hello);
      const closed = ended(socket);
      const next = (): void => {
        if (socket.readyState === WebSocket.OPEN) send(socket, next);
      };
      socket.once('open', next);
      await closed;
    });
  };

  if (kind === 'slow') {
    again(500, async () => {
      const socket = connectTcp(from);
      socket.on('error', () => {}).resume();
      socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
      await ended(socket);
    });
  } else if (kind === 'connections') {
    again(64, async () => {
      const socket = connectTls({ ...from, rejectUnauthorized: false });
      socket.on('error', () => {}).once('secureConnect', () => socket.destroy());
      await ended(socket);
    });
  } else if (kind === 'joins') {
    // All is right with the token but its signature: nothing is refused later.
    const chain = parseTokenText(token).chain.slice();
    chain[chain.length - 1] = (chain.at(-1) as number) ^ 1;
    again(8, async (n) => {
      const seed = new Uint8Array(32).fill(7);
      new DataView(seed.buffer).setUint32(0, n);
      const key = keyFromSeed(seed);
      const socket = webSocket(key);
      const closed = ended(socket);
      const proof = new Uint8Array(64);
      const asked = { node: nodeId(key.publicKey), name: 'x', address: '127.0.0.1:1' };
      const request = { ...asked, chain, proof, consent: proof };
      socket.once('open', () => socket.send(frame([[0, 1, 'join', request]])));
      socket.once('message', () => socket.terminate());
      await closed;
    });
  } else if (kind === 'pings') {
    member((socket, sent) => {
      for (let i = 0; i < 100; i++) socket.ping(Buffer.alloc(100));
      setImmediate(sent);
    });
  } else {
    const one: Record<string, unknown> = {
      casts: [3, 'swim', [1, []]],
      calls: [0, 1, 'bench.echo', 'x'],
      // The most objects that a message may have, each of a byte.
      dense: [3, 'swim', Array.from({ length: 65_000 }, () => [])],
    };
    const flood = frame(Array.from({ length: kind === 'dense' ? 1 : 1_024 }, () => one[kind]));
    member((socket, sent) => socket.send(flood, () => setImmediate(sent)));
  }
  process.on('disconnect', () => process.exit());
  setTimeout(() => process.send?.('under way'), ATTACK_WARM_UP_MS);
}

const [role, ...args] = process.argv.slice(2);
if (role === ROLES.target) await serveTarget(args[0] ?? '');
if (role === ROLES.attacker) {
  const [kind, address = '', taken = '', token = ''] = args;
  await attack(kind as Kind, address, taken, token);
}
