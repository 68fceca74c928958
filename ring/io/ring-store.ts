/**
 * What a node must not forget of its lattice: DATA/ring.db.
 *
 * Every write is on disk (synchronous=FULL, WAL) when the call returns; but where peers are is a hint, which is written with
 * the next of them or a little later, as many nodes that come at once would wait for a disk each time one hears of another.
 */
import type Database from 'better-sqlite3';
import type { SignedEpoch } from '../core/epoch-record.ts';
import { toSignedEpoch } from '../core/epoch-record.ts';
import { decode, encode } from '../core/codec.ts';
import { makeDatabase, openDatabase } from './database.ts';

/** How a folder came to be a node: decided once. */
export type Origin = 'founded' | 'joined';

/** Tables of hints: addresses by node. */
type Hints = 'peer' | 'swim_peer';
const HINTS_DELAY_MS = 1_000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS peer (node TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS swim_peer (node TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;`;

export class RingStore {
  readonly #database: Database.Database;
  readonly #addresses: Map<string, string>;
  readonly #swimAddresses: Map<string, string>;
  /** Hints that are not on disk yet. */
  readonly #waiting: Record<Hints, Map<string, string>> = { peer: new Map(), swim_peer: new Map() };
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param path made when it is missing, and durable once its folder is synced (new-file.ts): before that, nobody is to be told
   *   what it keeps.
   */
  constructor(path: string) {
    makeDatabase(path, (made) => made.exec(SCHEMA));
    this.#database = openDatabase(path, SCHEMA);
    const read = (table: Hints): Map<string, string> =>
      new Map(this.#database.prepare<[], [string, string]>(`SELECT * FROM ${table}`).raw().all());
    this.#addresses = read('peer');
    this.#swimAddresses = read('swim_peer');
  }

  close(): void {
    this.#writeHints();
    this.#database.close();
  }

  origin(): Origin | undefined {
    return this.#fact('origin') as Origin | undefined;
  }

  setOrigin(origin: Origin): void {
    this.#setFact('origin', origin);
  }

  /** Whether this node was ever in a settled epoch. */
  hasServed(): boolean {
    return this.#fact('served') !== undefined;
  }

  setServed(): void {
    this.#setFact('served', 1);
  }

  lattice(): string | undefined {
    return this.#fact('lattice') as string | undefined;
  }

  setLattice(lattice: string): void {
    this.#setFact('lattice', lattice);
  }

  /** What this node shows of itself: core/node-certificate.ts. */
  nodeCertificate(): Uint8Array | undefined {
    return this.#fact('node-certificate') as Uint8Array | undefined;
  }

  setNodeCertificate(certificate: Uint8Array): void {
    this.#setFact('node-certificate', certificate);
  }

  /** The newest epoch this node has used. */
  epoch(): SignedEpoch | undefined {
    const value = this.#value('epoch');
    return value === undefined ? undefined : toSignedEpoch(value);
  }

  setEpoch(epoch: SignedEpoch): void {
    this.#setFact('epoch', encode(epoch));
  }

  /** This node has had no higher incarnation. */
  incarnation(): number {
    return (this.#fact('incarnation') as number | undefined) ?? 0;
  }

  setIncarnation(incarnation: number): void {
    this.#setFact('incarnation', incarnation);
  }

  /** Where this node listened last. */
  port(): number | undefined {
    return this.#fact('port') as number | undefined;
  }

  setPort(port: number): void {
    this.#setFact('port', port);
  }

  /** Where the membership of this node listened last. */
  swimPort(): number | undefined {
    return this.#fact('swim-port') as number | undefined;
  }

  setSwimPort(port: number): void {
    if (port !== this.swimPort()) this.#setFact('swim-port', port);
  }

  /** Where the membership of peers was last dialled. */
  swimAddresses(): ReadonlyMap<string, string> {
    return this.#swimAddresses;
  }

  setSwimAddress(node: string, address: string): void {
    this.#hint('swim_peer', this.#swimAddresses, node, address);
  }

  /** Where peers were last seen. */
  addresses(): ReadonlyMap<string, string> {
    return this.#addresses;
  }

  setAddresses(peers: readonly { id: string; address: string }[]): void {
    for (const { id, address } of peers) this.#hint('peer', this.#addresses, id, address);
  }

  #hint(table: Hints, known: Map<string, string>, node: string, address: string): void {
    if (known.get(node) === address) return;
    known.set(node, address);
    this.#waiting[table].set(node, address);
    this.#timer ??= setTimeout(() => this.#writeHints(), HINTS_DELAY_MS).unref();
  }

  #writeHints(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (Object.values(this.#waiting).every(({ size }) => size === 0)) return;
    this.#database.transaction(() => {
      for (const [table, moved] of Object.entries(this.#waiting)) {
        const keep = this.#database.prepare(
          `INSERT INTO ${table} VALUES (?, ?) ON CONFLICT DO UPDATE SET address = excluded.address`,
        );
        for (const [node, address] of moved) keep.run(node, address);
        moved.clear();
      }
    })();
  }

  #value(name: string): unknown {
    const bytes = this.#fact(name);
    return bytes instanceof Uint8Array ? decode(bytes) : undefined;
  }

  #fact(name: string): unknown {
    return this.#database.prepare('SELECT value FROM fact WHERE name = ?').pluck().get(name);
  }

  #setFact(name: string, value: string | number | Uint8Array): void {
    this.#database.transaction(() => {
      this.#database
        .prepare('INSERT INTO fact VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value')
        .run(name, value);
      this.#writeHints();
    })();
  }
}
