/**
 * What a node must not forget of its lattice: DATA/ring.db.
 *
 * A fact is on disk when the call returns. What can be found out or asked for again is a hint: where peers are, the ports of
 * this node, its certificate, that it has served. Hints are written with the next fact or a little later, as many nodes that come at once would
 * wait for a disk each time one hears of another.
 */
import type Database from 'better-sqlite3';
import type { SignedEpoch } from '../core/epoch-record.ts';
import { toSignedEpoch } from '../core/epoch-record.ts';
import { decode, encode } from '../core/codec.ts';
import { makeDatabase, openDatabase } from './database.ts';

/** How a folder came to be a node: decided once. */
export type Origin = 'founded' | 'joined';

type Value = string | number | Uint8Array;
type Facts = Readonly<Record<string, Value>>;
/** Tables: values by name, addresses by node. */
type Table = 'fact' | 'peer' | 'swim_peer';
const HINTS_DELAY_MS = 1_000;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS peer (node TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS swim_peer (node TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;`;

export class RingStore {
  readonly #database: Database.Database;
  readonly #read: Database.Statement<[string]>;
  /** With the hints that wait, in one transaction. */
  readonly #write: (facts: Facts) => void;
  readonly #addresses: Map<string, string>;
  readonly #swimAddresses: Map<string, string>;
  /** Hints that are not on disk yet. */
  readonly #waiting: Record<Table, Map<string, Value>> = {
    fact: new Map(),
    peer: new Map(),
    swim_peer: new Map(),
  };
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param path made when it is missing, and durable once its folder is synced (new-file.ts): before that, nobody is to be told
   *   what it keeps.
   */
  constructor(path: string) {
    makeDatabase(path, SCHEMA);
    const database = openDatabase(path, SCHEMA);
    this.#database = database;
    this.#read = database.prepare<[string]>('SELECT value FROM fact WHERE name = ?').pluck();
    const keep = (table: Table): Database.Statement<[string, Value]> =>
      database.prepare(`INSERT OR REPLACE INTO ${table} VALUES (?, ?)`);
    const tables = { fact: keep('fact'), peer: keep('peer'), swim_peer: keep('swim_peer') };
    this.#write = database.transaction((facts: Facts) => {
      for (const fact of Object.entries(facts)) tables.fact.run(...fact);
      for (const [table, statement] of Object.entries(tables))
        for (const row of this.#waiting[table as Table]) statement.run(...row);
    });
    const addresses = (table: Table): Map<string, string> =>
      new Map(database.prepare<[], [string, string]>(`SELECT * FROM ${table}`).raw().all());
    this.#addresses = addresses('peer');
    this.#swimAddresses = addresses('swim_peer');
  }

  close(): void {
    this.#keep({});
    this.#database.close();
  }

  origin(): Origin | undefined {
    return this.#fact('origin') as Origin | undefined;
  }

  setOrigin(origin: Origin): void {
    this.#keep({ origin });
  }

  /** Whether this node was ever in a settled epoch. */
  hasServed(): boolean {
    return this.#fact('served') !== undefined;
  }

  /** A hint: forgotten, it waits for a settled epoch once more. */
  setServed(): void {
    this.#hint('fact', 'served', 1);
  }

  lattice(): string | undefined {
    return this.#fact('lattice') as string | undefined;
  }

  /** What this node shows of itself: core/node-certificate.ts. */
  nodeCertificate(): Uint8Array | undefined {
    return this.#fact('node-certificate') as Uint8Array | undefined;
  }

  setNodeCertificate(certificate: Uint8Array): void {
    this.#hint('fact', 'node-certificate', certificate);
  }

  /** The newest epoch this node has used. */
  epoch(): SignedEpoch | undefined {
    const bytes = this.#fact('epoch');
    return bytes instanceof Uint8Array ? toSignedEpoch(decode(bytes)) : undefined;
  }

  setEpoch(epoch: SignedEpoch, lattice: string): void {
    this.#keep({ epoch: encode(epoch), lattice });
  }

  /** This node has had no higher incarnation. */
  incarnation(): number {
    return (this.#fact('incarnation') as number | undefined) ?? 0;
  }

  setIncarnation(incarnation: number): void {
    this.#keep({ incarnation });
  }

  /** Where this node listened last. */
  port(): number | undefined {
    return this.#fact('port') as number | undefined;
  }

  setPort(port: number): void {
    if (port !== this.port()) this.#hint('fact', 'port', port);
  }

  /** Where the membership of this node listened last. */
  swimPort(): number | undefined {
    return this.#fact('swim-port') as number | undefined;
  }

  setSwimPort(port: number): void {
    if (port !== this.swimPort()) this.#hint('fact', 'swim-port', port);
  }

  /** Where the membership of peers was last dialled. */
  swimAddresses(): ReadonlyMap<string, string> {
    return this.#swimAddresses;
  }

  setSwimAddress(node: string, address: string): void {
    this.#locate('swim_peer', this.#swimAddresses, node, address);
  }

  /** Where peers were last seen. */
  addresses(): ReadonlyMap<string, string> {
    return this.#addresses;
  }

  setAddresses(peers: readonly { id: string; address: string }[]): void {
    for (const { id, address } of peers) this.#locate('peer', this.#addresses, id, address);
  }

  #locate(table: Table, known: Map<string, string>, node: string, address: string): void {
    if (known.get(node) === address) return;
    known.set(node, address);
    this.#hint(table, node, address);
  }

  #hint(table: Table, name: string, value: Value): void {
    this.#waiting[table].set(name, value);
    this.#timer ??= setTimeout(() => this.#keep({}), HINTS_DELAY_MS).unref();
  }

  #fact(name: string): unknown {
    return this.#waiting.fact.get(name) ?? this.#read.get(name);
  }

  /** All of it or nothing, durable when it returns. */
  #keep(facts: Facts): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = Object.values(this.#waiting);
    this.#write(facts);
    for (const rows of waiting) rows.clear();
  }
}
