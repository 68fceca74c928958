/**
 * Membership messages as plain lists, short enough to be sent all the time:
 *
 *     message    = [version, kind, incarnation, seq, updates, …of the kind]
 *     kind       = 0 ping [load] | 1 ping-req [target] | 2 ack [target, coordinate, load] | 3 nack | 4 gossip
 *                | 5 compare [alive, digest, digest] | 6 hashes [alive, bytes] | 7 ask [alive, parts, bits] | 8 tell [alive]
 *                | 9 neighbor [priority] | 10 disconnect     priority = 0 low | 1 high | 2 yes
 *     update     = [id, state, incarnation, facts, accusers]     state = 0 alive | 1 suspect | 2 dead | 3 left
 *     facts      = [incarnation, version, addresses, least, most, certificateEpoch, load, coordinate, tier, types, ext]
 *     coordinate = [x, y, z, height, error]     hundredths: of a millisecond, of the error
 *     load       = hundredths
 *
 * What is not there is null, and nulls at the end are left out.
 *
 * How releases live side by side: a later version only appends to these lists, adds kinds and states, and puts new
 * facts under new numbers into `ext`, which everybody passes on. So a message of a later version is read as far as
 * it is known: what is appended is not looked at, an unknown kind counts as gossip, an update with an unknown state
 * is left out. In a message of a known version nothing may be unknown.
 */
import type { Priority } from './partial-view.ts';
import type { Coordinate } from './swim-coordinate.ts';
import type {
  Facts,
  MemberState,
  SwimMessage,
  SwimRequest,
  SyncRequest,
  Update,
} from './swim-message.ts';

export const SWIM_VERSION = 1;

const STATES: readonly MemberState[] = ['alive', 'suspect', 'dead', 'left'];
const PRIORITIES: readonly Priority[] = ['low', 'high', 'yes'];
const UPDATES_MAX = 20_000;
const TEXT_MAX = 256;
const ADDRESSES_MAX = 8;
const ACCUSERS_MAX = 8;
const TYPES_MAX = 256;
const EXT_MAX = 32;
const EXT_BYTES_MAX = 1_024;
/** Of a digest's parts: a bit each in `ask`, four bytes each in `hashes`. */
const PARTS_MAX = 65_536;
/** Of a coordinate, in hundredths of a millisecond: 1,000 s. */
const HUNDREDTHS_MAX = 1e8;

/** What is cast to a peer: the number of the sender's epoch, and the message. */
export function toWire(epoch: number, message: SwimMessage): unknown {
  const { incarnation, updates } = message;
  const [kind, seq, ...rest] = ofKind(message);
  return [epoch, trim([SWIM_VERSION, kind, incarnation, seq, updates.map(updateToWire), ...rest])];
}

/** @returns undefined when the value is no message. */
export function fromWire(value: unknown): { epoch: number; message: SwimMessage } | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [epoch, list] = value as unknown[];
  const message = toSwimMessage(list);
  return isCount(epoch) && message !== undefined ? { epoch, message } : undefined;
}

/** True when others would read it. */
export function isSayable(facts: Omit<Facts, 'incarnation' | 'version'>): boolean {
  return toFacts(factsToWire({ ...facts, incarnation: 1, version: 1 }), false) !== undefined;
}

function ofKind(message: SwimRequest): unknown[] {
  switch (message.kind) {
    case 'ping':
      return [0, message.seq, loadToWire(message.load)];
    case 'ping-req':
      return [1, message.seq, message.target];
    case 'ack':
      return [
        2,
        message.seq,
        message.target ?? null,
        coordinateToWire(message.coordinate),
        loadToWire(message.load),
      ];
    case 'nack':
      return [3, message.seq];
    case 'sync':
      return ofStep(message);
    case 'neighbor':
      return [9, 0, PRIORITIES.indexOf(message.priority)];
    case 'disconnect':
      return [10, 0];
    case 'gossip':
      break;
  }
  return [4, 0];
}

function ofStep(message: SyncRequest): unknown[] {
  switch (message.step) {
    case 'compare':
      return [5, 0, message.alive, ...message.digest];
    case 'hashes':
      return [6, 0, message.alive, message.hashes];
    case 'ask':
      return [7, 0, message.alive, message.parts, message.differing];
    case 'tell':
      break;
  }
  return [8, 0, message.alive];
}

function updateToWire({ id, state, incarnation, facts, accusers }: Update): unknown[] {
  return trim([
    id,
    STATES.indexOf(state),
    incarnation,
    facts === undefined ? null : factsToWire(facts),
    accusers ?? null,
  ]);
}

function factsToWire(facts: Facts): unknown[] {
  return trim([
    facts.incarnation,
    facts.version,
    facts.addresses,
    ...facts.protocol,
    facts.certificateEpoch,
    loadToWire(facts.load),
    coordinateToWire(facts.coordinate),
    facts.tier ?? null,
    facts.types ?? null,
    facts.ext ?? null,
  ]);
}

function coordinateToWire(coordinate: Coordinate | undefined): number[] | null {
  if (coordinate === undefined) return null;
  const { x, y, z, height, error } = coordinate;
  return [x, y, z, height, error].map((length) => Math.round(length * 100));
}

function loadToWire(load: number | undefined): number | null {
  return load === undefined ? null : Math.round(load * 100);
}

function trim(list: unknown[]): unknown[] {
  while (list.at(-1) === null) list.pop();
  return list;
}

/** A value from the wire as a message. @returns undefined when it is none. */
function toSwimMessage(value: unknown): SwimMessage | undefined {
  if (!Array.isArray(value)) return undefined;
  const [version, kind, incarnation, seq, list, ...rest] = value as unknown[];
  if (!isCount(version) || version < 1 || !isCount(kind) || !isCount(incarnation)) return undefined;
  if (!isCount(seq) || !Array.isArray(list) || list.length > UPDATES_MAX) return undefined;
  const isLater = version > SWIM_VERSION;
  const request = toRequest(kind, seq, rest, isLater);
  if (request === undefined) return undefined;
  const updates: Update[] = [];
  for (const each of list as unknown[]) {
    const update = toUpdate(each, isLater);
    if (update === undefined) return undefined;
    if (update !== 'unknown') updates.push(update);
  }
  return { ...request, incarnation, updates };
}

function toRequest(
  kind: number,
  seq: number,
  rest: readonly unknown[],
  isLater: boolean,
): SwimRequest | undefined {
  const [a = null, b = null, c = null] = rest;
  const fits = (length: number): boolean => isLater || rest.length <= length;
  switch (kind) {
    case 0:
      if (!fits(1) || !isLoad(a)) return undefined;
      return { kind: 'ping', seq, ...toLoad(a) };
    case 1:
      return fits(1) && isText(a) ? { kind: 'ping-req', seq, target: a } : undefined;
    case 2: {
      const coordinate = b === null ? null : toCoordinate(b);
      if (!fits(3) || !(a === null || isText(a)) || coordinate === undefined) return undefined;
      if (!isLoad(c)) return undefined;
      return {
        kind: 'ack',
        seq,
        ...(a === null ? {} : { target: a }),
        ...(coordinate === null ? {} : { coordinate }),
        ...toLoad(c),
      };
    }
    case 3:
      return fits(0) ? { kind: 'nack', seq } : undefined;
    case 4:
      return fits(0) ? { kind: 'gossip' } : undefined;
    case 5:
      if (!fits(3) || !isCount(a) || !isCount(b) || !isCount(c)) return undefined;
      return { kind: 'sync', step: 'compare', alive: a, digest: [b, c] };
    case 6:
      if (!fits(2) || !isCount(a) || !isHashes(b)) return undefined;
      return { kind: 'sync', step: 'hashes', alive: a, hashes: b };
    case 7:
      if (!fits(3) || !isCount(a) || !isParts(b) || !isBytes(c) || c.length !== Math.ceil(b / 8))
        return undefined;
      return { kind: 'sync', step: 'ask', alive: a, parts: b, differing: c };
    case 8:
      if (!fits(1) || !isCount(a)) return undefined;
      return { kind: 'sync', step: 'tell', alive: a };
    case 9: {
      const priority = typeof a === 'number' ? PRIORITIES[a] : undefined;
      if (fits(1) && priority !== undefined) return { kind: 'neighbor', priority };
      return isLater ? { kind: 'gossip' } : undefined;
    }
    case 10:
      return fits(0) ? { kind: 'disconnect' } : undefined;
    default:
      return isLater ? { kind: 'gossip' } : undefined;
  }
}

function toUpdate(value: unknown, isLater: boolean): Update | 'unknown' | undefined {
  if (!Array.isArray(value) || (value.length > 5 && !isLater)) return undefined;
  const [id, stateNumber, incarnation, said = null, by = null] = value as unknown[];
  if (!isText(id) || !isCount(stateNumber) || !isCount(incarnation)) return undefined;
  const facts = said === null ? null : toFacts(said, isLater);
  if (facts === undefined || !(by === null || isTexts(by, ACCUSERS_MAX))) return undefined;
  const state = STATES[stateNumber];
  if (state === undefined) return isLater ? 'unknown' : undefined;
  return {
    id,
    state,
    incarnation,
    ...(facts === null ? {} : { facts }),
    ...(by === null ? {} : { accusers: by }),
  };
}

function toFacts(value: unknown, isLater: boolean): Facts | undefined {
  if (!Array.isArray(value) || (value.length > 11 && !isLater)) return undefined;
  const [incarnation, version, addresses, least, most, certificateEpoch, ...rest] =
    value as unknown[];
  const [load = null, place = null, tier = null, types = null, ext = null] = rest;
  const coordinate = place === null ? null : toCoordinate(place);
  const isWhole =
    isCount(incarnation) &&
    isCount(version) &&
    isTexts(addresses, ADDRESSES_MAX) &&
    isCount(least) &&
    isCount(most) &&
    isCount(certificateEpoch) &&
    isLoad(load) &&
    coordinate !== undefined &&
    (tier === null || isText(tier)) &&
    (types === null || isTexts(types, TYPES_MAX)) &&
    (ext === null || isExt(ext));
  if (!isWhole) return undefined;
  return {
    incarnation,
    version,
    addresses,
    protocol: [least, most],
    certificateEpoch,
    ...toLoad(load),
    ...(coordinate === null ? {} : { coordinate }),
    ...(tier === null ? {} : { tier }),
    ...(types === null ? {} : { types }),
    ...(ext === null ? {} : { ext: detached(ext) }),
  };
}

/** Facts are kept for longer than the message that they are part of. */
function detached(ext: Record<string, Uint8Array>): Record<string, Uint8Array> {
  const entries = Object.entries(ext);
  return Object.fromEntries(entries.map(([number, fact]) => [number, new Uint8Array(fact)]));
}

function toCoordinate(value: unknown): Coordinate | undefined {
  if (!Array.isArray(value) || value.length !== 5) return undefined;
  const fits = (value as unknown[]).every(
    (part) => Number.isSafeInteger(part) && Math.abs(part as number) <= HUNDREDTHS_MAX,
  );
  if (!fits) return undefined;
  const [x, y, z, height, error] = (value as number[]).map((part) => part / 100) as [
    number,
    number,
    number,
    number,
    number,
  ];
  return height >= 0 && error >= 0 ? { x, y, z, height, error } : undefined;
}

function isLoad(value: unknown): value is number | null {
  return value === null || (isCount(value) && value <= 100);
}

function toLoad(hundredths: number | null): { load?: number } {
  return hundredths === null ? {} : { load: hundredths / 100 };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= TEXT_MAX;
}

function isTexts(value: unknown, countMax: number): value is string[] {
  return Array.isArray(value) && value.length <= countMax && value.every(isText);
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array;
}

function isParts(value: unknown): value is number {
  return isCount(value) && value > 0 && value <= PARTS_MAX && (value & (value - 1)) === 0;
}

function isHashes(value: unknown): value is Uint8Array {
  if (!isBytes(value) || value.length % 4 !== 0) return false;
  return value.length === 0 || isParts(value.length / 4);
}

function isExt(value: unknown): value is Record<string, Uint8Array> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || isBytes(value))
    return false;
  const entries = Object.entries(value as Record<string, unknown>);
  let bytes = 0;
  for (const [number, fact] of entries) {
    if (!/^\d{1,9}$/.test(number) || !isBytes(fact)) return false;
    bytes += fact.length;
  }
  return entries.length <= EXT_MAX && bytes <= EXT_BYTES_MAX;
}

/** Far below 2^53, so that counting on from any accepted number stays exact. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 48;
}
