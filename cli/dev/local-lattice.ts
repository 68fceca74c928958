/** A lattice of node processes on loopback, each an `aether up` of its own, for `aether dev` and its proofs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { mintJoinToken } from '../../ring/index.ts';
import { AetherError } from '../../spec/error.ts';
import { sibling } from '../../spec/package-file.ts';
import { ControlClient } from '../io/control-client.ts';

/** A node process of the lattice. */
export interface LocalNode {
  readonly name: string;
  readonly zone: string;
  readonly data: string;
  readonly listen: string;
  readonly ingress: string;
  readonly client: ControlClient;
  /** Undefined while it is stopped. */
  process: ChildProcess | undefined;
}

export interface StartOptions {
  /** Added to the node's environment for this start only. */
  env?: Record<string, string>;
}

interface Ports {
  listen: number;
  ingress: number;
}

/** Time a node has to say that it serves. */
const READY_TIMEOUT_MS = 30_000;
/** Time a node has to end in order before it is killed. */
const STOP_TIMEOUT_MS = 10_000;
/** First ingress port that is tried; the next free ones follow. */
const INGRESS_PORT_FIRST = 8_080;
/** Where the ports of the last start are kept. */
const PORTS = 'ports.json';
const TOKEN_LIFE_MS = 3_600_000;
const MAIN = fileURLToPath(sibling(import.meta.url, '../main'));

export class LocalLattice {
  readonly nodes: readonly LocalNode[];
  readonly #folder: string;
  #tellEnded: ((node: LocalNode, ended: string) => void) | undefined;

  /**
   * Plans a lattice; a folder that had one keeps its ports where they are free.
   *
   * @param folder gets a folder per node, `n1`, `n2`…, and `ports.json`.
   */
  static async plan(folder: string, count: number): Promise<LocalLattice> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const file = join(folder, PORTS);
    const wanted: Ports[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];
    const taken = new Set<number>();
    const ports: Ports[] = [];
    for (let i = 0; i < count; i++) {
      ports.push({
        listen: await freePort(wanted[i]?.listen ?? 0, taken),
        ingress: await freePort(wanted[i]?.ingress ?? INGRESS_PORT_FIRST + i, taken),
      });
    }
    return new LocalLattice(
      folder,
      ports.map(({ listen, ingress }, i) => {
        const data = join(folder, `n${i + 1}`);
        return {
          name: `n${i + 1}`,
          zone: `z${i + 1}`,
          data,
          listen: `127.0.0.1:${listen}`,
          ingress: `127.0.0.1:${ingress}`,
          client: new ControlClient(join(data, 'api.sock')),
          process: undefined,
        };
      }),
    );
  }

  private constructor(folder: string, nodes: readonly LocalNode[]) {
    this.#folder = folder;
    this.nodes = nodes;
  }

  /** Starts every node; a new lattice is founded by the first and joined by the others. */
  async start(): Promise<void> {
    const [founder, ...others] = this.nodes as [LocalNode, ...LocalNode[]];
    // A token is there until its node has joined, so one that was cut off in between gets another.
    const strangers = others.filter(
      (node) => !existsSync(node.data) || existsSync(tokenFile(node)),
    );
    if (strangers.length > 0) await this.startNode(founder);
    for (const node of strangers) {
      mkdirSync(node.data, { recursive: true, mode: 0o700 });
      const token = mintJoinToken(founder.data, { uses: 1, expiresMs: TOKEN_LIFE_MS });
      writeFileSync(tokenFile(node), token, { mode: 0o600 });
    }
    const stopped = this.nodes.filter((node) => node.process === undefined);
    await Promise.all(stopped.map((node) => this.startNode(node)));
    for (const node of strangers) rmSync(tokenFile(node));
    const ports = this.nodes.map(({ listen, ingress }) => ({
      listen: portOf(listen),
      ingress: portOf(ingress),
    }));
    writeFileSync(join(this.#folder, PORTS), JSON.stringify(ports));
  }

  /** Starts one node and waits until it serves. @throws AetherError ERR_DEV_NODE with what it printed. */
  async startNode(node: LocalNode, { env = {} }: StartOptions = {}): Promise<void> {
    const peers = this.nodes.filter((peer) => peer !== node);
    const isFounder = node === this.nodes[0] && !existsSync(join(node.data, 'node.key'));
    const args = [
      'up',
      `--data=${node.data}`,
      `--name=${node.name}`,
      `--listen=${node.listen}`,
      `--ingress=${node.ingress}`,
      `--zone=${node.zone}`,
      `--cache=${join(this.#folder, 'cache')}`,
      ...(isFounder ? [] : peers.map((peer) => `--join=${peer.listen}`)),
      ...(existsSync(tokenFile(node)) ? [`--token=${tokenFile(node)}`] : []),
    ];
    const child = spawn(process.execPath, [...process.execArgv, MAIN, ...args], {
      env: { ...process.env, ...env },
      // The channel tells the node when this process is gone, however it ended.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    node.process = child;
    child.once('exit', () => {
      if (node.process === child) node.process = undefined;
    });
    child.once('exit', (code, signal) => this.#tellEnded?.(node, signal ?? `code ${code}`));
    const log: string[] = [];
    const logFile = createWriteStream(`${node.data}.log`, { flags: 'a', mode: 0o600 });
    child.stderr?.on('data', (chunk: Buffer) => {
      logFile.write(chunk);
      log.push(chunk.toString());
      if (log.length > 100) log.shift();
    });
    child.once('close', () => logFile.end());
    await ready(child).catch(async (error: unknown) => {
      await this.kill(node);
      if (log.some((line) => line.includes('ERR_DATA_LOCKED'))) {
        throw new AetherError(`a lattice runs on ${this.#folder} already`, {
          code: 'ERR_DEV_LOCKED',
          hint: 'use that one, stop it, or give this one a folder of its own: --data DIR',
        });
      }
      throw new AetherError(`node ${node.name} did not start: ${(error as Error).message}`, {
        code: 'ERR_DEV_NODE',
        hint: `${log.join('').trim() || `its log is ${node.data}.log`}; to start afresh: rm -rf ${this.#folder}`,
      });
    });
  }

  /** Calls `tell` for each node that ends from now on; undefined: no more. */
  onEnded(tell: ((node: LocalNode, ended: string) => void) | undefined): void {
    this.#tellEnded = tell;
  }

  /** Ends a node as a power cut would. */
  async kill(node: LocalNode): Promise<void> {
    await end(node.process, 'SIGKILL');
  }

  /** Resolves once a node's process is gone. @returns the signal that ended it, if one did. */
  async ended(node: LocalNode): Promise<NodeJS.Signals | null> {
    const child = node.process;
    if (child === undefined) return null;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.signalCode;
  }

  /** Stops every node in order. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => end(node.process, 'SIGTERM')));
  }
}

function tokenFile(node: LocalNode): string {
  return join(node.data, 'join.token');
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exit;
  clearTimeout(timer);
}

/** Resolves at the child's `ready` line. */
async function ready(child: ChildProcess): Promise<void> {
  const stdout = child.stdout;
  if (stdout === null) throw new Error('it has no stdout');
  const lines = createInterface({ input: stdout });
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      new Promise<void>((resolve) => {
        lines.on('line', (line) => {
          if (line.startsWith('ready ')) resolve();
        });
      }),
      once(child, 'exit').then(([code, signal]: (number | string | null)[]) => {
        throw new Error(`it ended with ${signal ?? `code ${code}`}`);
      }),
      new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new Error(`not ready after ${READY_TIMEOUT_MS} ms`)),
          READY_TIMEOUT_MS,
        );
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

/** The wanted port when it is free, else the next one that is; 0 = any. */
async function freePort(wanted: number, taken: Set<number>): Promise<number> {
  for (let port = wanted; ; port++) {
    if (port !== 0 && taken.has(port)) continue;
    const bound = await tryListen(port);
    if (bound !== undefined && !taken.has(bound)) {
      taken.add(bound);
      return bound;
    }
    if (port === 0) port--;
  }
}

function tryListen(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(bound));
    });
  });
}
