/** From a data folder to a node that is in its lattice: founded, joined or come back. */
import { join } from 'node:path';
import type { Clock } from '../spec/clock.ts';
import { AetherError } from '../spec/error.ts';
import { latticeId, nodeId } from '../spec/id.ts';
import { type Log, silentLog } from '../spec/log.ts';
import type { Random } from '../spec/random.ts';
import { firstConfiguration } from './core/configuration.ts';
import { foundingEpoch } from './core/epoch-change.ts';
import { encodeEpoch, epochGroup, type SignedEpoch } from './core/epoch-record.ts';
import type { Snapshot } from './core/fenced-log.ts';
import type { EpochMember } from './core/epoch.ts';
import { attestMessage } from './core/register-certificate.ts';
import { founderMessage } from './core/root-key.ts';
import { digestOf, firstValue, type RegisterValue } from './core/register-value.ts';
import { allocateTokens } from './core/hash-ring-allocation.ts';
import { checkFacts, defaultWeight } from './core/member-facts.ts';
import { type SwimOptions, swimOptions } from './core/swim-options.ts';
import { type TransportLimits, transportLimits } from './core/transport-limits.ts';
import type { CertificateError } from './core/node-certificate.ts';
import { REVOKED, revokedError } from './core/revocation.ts';
import { Standing } from './core/standing.ts';
import { latticeTag, parseTokenText, tokenMissing } from './core/token.ts';
import { NO_ADDRESS } from './core/ways.ts';
import { dialableHost, formatAddress, type HostPort, parseAddress } from './io/address.ts';
import { Exclusion } from './core/exclusion.ts';
import { createCertificate } from './io/certificate.ts';
import { holdDataFolder } from './io/data-folder.ts';
import { type DiscoveryOptions, findSeeds, parseSeed } from './io/discovery.ts';
import { SqliteAcceptorStore } from './io/acceptor-sqlite.ts';
import { EpochKeeper } from './io/epoch-keeper.ts';
import { makeKeyFile, readKeyFile, type SigningKey } from './io/keys.ts';
import { SqliteReplicaStore } from './io/kv-sqlite.ts';
import { Announcer, networkOf } from './io/mdns.ts';
import { syncFolder } from './io/new-file.ts';
import { notMember, Peers } from './io/peers.ts';
import { RingStore } from './io/ring-store.ts';
import { isOfTheMachine } from './io/membership.ts';
import type { SwimSockets } from './io/swim-protocol.ts';
import { SwimHost } from './io/swim-host.ts';
import { openWitness } from './io/witness.ts';
import { systemClock } from '../spec/system-clock.ts';
import { systemRandom } from '../spec/system-random.ts';
import { CertificateIssuer } from './certificate-issuer.ts';
import { askToJoin } from './join.ts';
import type { ReplicaStore } from './kv-store.ts';
import { foundRegister } from './register.ts';
import { Renewal } from './renewal.ts';

export interface RingOptions {
  /** Folder of this node's keys and databases; made 0700. One process at a time. */
  data: string;
  /** Default: the first letters of the id. */
  name?: string;
  /** `host:port` for peers, or `none`: then it is reached through relays. Default 127.0.0.1:0. */
  listen?: string;
  /**
   * Where members are: `host:port`, `dns:NAME` (SRV records), `dns:NAME:PORT`, `mdns:` or `mdns:LATTICE`. None on an empty
   * folder = found a lattice.
   */
  join?: string[];
  /** Lets this node be found by `mdns:` on the local network that it listens on. Default false. */
  mdns?: boolean;
  /** Servers for `dns:`, `address` or `address:port`. Default: the machine's, and for names of hosts its /etc/hosts. */
  dnsServers?: string[];
  /** Join token in text form; needed once. */
  token?: string;
  /**
   * How long members are asked to let this node in that are there and do not get round to it. Default 2 min, from 1 s to
   * 1 h; where nobody is, a quarter of a minute is enough.
   */
  joinPatienceMs?: number;
  zone?: string;
  region?: string;
  /** Default: those of the token; voter, storage and compute for a founder. */
  roles?: string[];
  /** Share of the ring relative to other nodes; 0 = none. Default 1 with the role of storage, if it can be dialled. */
  weight?: number;
  clock?: Clock;
  random?: Random;
  log?: Log;
  swim?: Partial<SwimOptions>;
  /** How long the certificates are good for that this node gives as an issuer. Default 24 h, from 1 min to 7 d. */
  certificateLifeMs?: number;
  /** What others may make this node do. */
  limits?: Partial<TransportLimits>;
  /**
   * The operator's word that the data folder is what this node wrote last, and no copy put back. Then a voter votes at once
   * after a restart of the machine. False of an older folder, it breaks the lattice. Default: false.
   */
  trustDisk?: boolean;
}

/** What a node stands on, before it takes part. */
export interface Assembly {
  clock: Clock;
  random: Random;
  log: Log;
  swim: SwimOptions;
  store: RingStore;
  rows: ReplicaStore;
  keeper: EpochKeeper;
  peers: Peers;
  certificates: CertificateIssuer;
  swimSockets: SwimSockets;
  renewal: Renewal;
  key: SigningKey;
  data: string;
  acceptors: SqliteAcceptorStore;
  /** What the acceptors have on disk is what this node wrote last. */
  isVouched: boolean;
  address: string;
  /** Addresses of the seeds, as they are now. @throws SeedsError */
  seeds: () => Promise<string[]>;
  /** Fulfilled once the others have put this node out, as core/exclusion.ts says. */
  putOut: Promise<void>;
}

/** A data folder that belongs to another lattice than asked for. Nothing was changed. */
export class LatticeError extends AetherError {
  static override readonly code: string = 'ERR_LATTICE_MISMATCH';
}

const JOIN_PATIENCE_MS = 120_000;
const JOIN_PATIENCE_MS_MIN = 1_000;
const JOIN_PATIENCE_MS_MAX = 3_600_000;
const CERTIFICATE_LIFE_MS = 24 * 3_600_000;
const CERTIFICATE_LIFE_MS_MIN = 60_000;
const CERTIFICATE_LIFE_MS_MAX = 7 * CERTIFICATE_LIFE_MS;
const NODE_KEY = 'node.key';
/** Keys that a node makes, by how it begins. */
const NEW_KEYS = { found: [NODE_KEY, 'root.key', 'issuer.key'], join: [NODE_KEY], return: [] };
const FOUNDER_ROLES = ['voter', 'storage', 'compute'];

/** @param held what is opened here, to be closed with it whatever comes. */
export async function assemble(
  options: RingOptions,
  held: AsyncDisposableStack,
): Promise<Assembly> {
  const { clock = systemClock, random = systemRandom, log = silentLog, data } = options;
  const swim = swimOptions(options.swim);
  const limits = transportLimits(options.limits);
  checkOptions(options);

  held.adopt(holdDataFolder(data), (folder) => folder.release());
  const store = held.adopt(new RingStore(join(data, 'ring.db')), (open) => open.close());
  const keeper = new EpochKeeper(store, log);
  const begin = beginning(options, store, keeper);
  // What a node in a lattice has lost is never made anew: neither its rows nor its key.
  const rows = held.adopt(
    new SqliteReplicaStore(join(data, 'kv.db'), { mustExist: begin === 'return' }),
    (open) => open.close(),
  );
  for (const file of NEW_KEYS[begin]) makeKeyFile(join(data, file));
  const key = readKeyFile(join(data, NODE_KEY));
  const id = nodeId(key.publicKey);

  const acceptors = held.adopt(
    new SqliteAcceptorStore(join(data, 'acceptor.db'), openWitness(id, data)),
    (open) => open.close(),
  );
  const isVouched = options.trustDisk === true || acceptors.isVouched;
  syncFolder(data); // What was made in it.

  const listen =
    options.listen === NO_ADDRESS ? undefined : parseAddress(options.listen ?? '127.0.0.1:0');
  const standing = new Standing();
  const exclusion = new Exclusion(id);
  const putOut = Promise.withResolvers<void>();
  const credentials = {
    key: key.secret.export({ format: 'pem', type: 'pkcs8' }),
    certificate: createCertificate(key),
  };
  const peers: Peers = new Peers({
    self: id,
    ...credentials,
    clock,
    log,
    limits,
    hello: () => {
      const lattice = store.lattice();
      const certificate = renewal.encoded;
      return {
        epoch: keeper.number,
        ...(lattice === undefined ? {} : { lattice }),
        ...(certificate === undefined ? {} : { certificate }),
      };
    },
    isMember: (node) => keeper.isParticipant(node) && standing.holds(node, clock.nowMs()),
    refusal: (node) => refusalOf(node, keeper, standing.refusal(node, clock.nowMs())),
    meet: (node, hello) => {
      if (keeper.isRevoked(node)) throw revokedError(node);
      if (hello.certificate !== undefined) standing.show(node, hello.certificate, clock.nowMs());
    },
    putOut: (by) => {
      if (exclusion.hear(by, keeper.epoch.voters)) putOut.resolve();
    },
    linkUp: (node, hello) => keeper.compare(peers, node, hello.epoch),
    parted: (node) => standing.forget(node),
  });
  const lifeMs = options.certificateLifeMs ?? CERTIFICATE_LIFE_MS;
  const certificates = new CertificateIssuer({ self: id, data, keeper, clock, lifeMs });
  const renewal: Renewal = held.adopt(
    new Renewal({ peers, keeper, store, standing, certificates, clock, random, log }),
    (running) => running.stop(),
  );
  held.adopt(peers, (open) => open.close());
  const address = await listenWhereBefore(peers, listen, store);
  // It loads its code while this node asks to be let in.
  if (isOfTheMachine(clock, random)) held.adopt(SwimHost.use(), (host) => host.release());
  if (options.mdns === true)
    networkOf(address === NO_ADDRESS ? address : parseAddress(address).host);
  const facts = { name: options.name ?? id.slice(0, 9), ...place(options) };
  const seeds = seedsOf(options, store, { clock, random, log });

  if (begin === 'found') {
    const roles = options.roles ?? FOUNDER_ROLES;
    const weight = options.weight ?? defaultWeight(roles);
    const tokens = allocateTokens([], { weight });
    const founder = { id, address, ...facts, roles, weight, tokens };
    const { signed, lattice } = await foundLattice(data, key, founder, acceptors);
    keeper.adopt(signed, lattice);
  } else if (begin === 'join') {
    const { roles, weight } = options;
    const wanted = {
      node: id,
      address,
      ...facts,
      ...(roles === undefined ? {} : { roles }),
      ...(weight === undefined ? {} : { weight }),
    };
    const joined = await askToJoin(peers, seeds, options.token ?? '', key, wanted, {
      clock,
      random,
      log,
      patienceMs: options.joinPatienceMs ?? JOIN_PATIENCE_MS,
    });
    keeper.adopt(joined.signed, joined.lattice);
    if (joined.certificate !== undefined) renewal.accept(joined.certificate);
  }
  if (!keeper.isParticipant(id)) throw removed();
  if (options.mdns === true) {
    const lattice = latticeTag(keeper.epoch.lattice);
    const announcement = { node: id, ...parseAddress(address), lattice };
    const announcer = await Announcer.open(announcement, { clock, random, log });
    held.adopt(announcer, (open) => open.close());
  }
  return {
    clock,
    random,
    log,
    swim,
    store,
    rows,
    keeper,
    peers,
    certificates,
    swimSockets: { ...credentials, host: listen?.host, limits, lattice: keeper.epoch.lattice },
    renewal,
    key,
    data,
    acceptors,
    isVouched,
    address,
    seeds,
    putOut: putOut.promise,
  };
}

/** Looks the seeds up anew each time: of the lattice of the token, or of the one that the node is in. */
function seedsOf(
  { join: texts = [], token, dnsServers }: RingOptions,
  store: RingStore,
  options: Omit<DiscoveryOptions, 'lattice'>,
): () => Promise<string[]> {
  const seeds = texts.map(parseSeed);
  return () => {
    const known = store.lattice();
    const asked = token === undefined ? undefined : parseTokenText(token).token.lattice;
    const lattice = known === undefined ? (asked ?? new Uint8Array()) : latticeTag(known);
    const servers = dnsServers === undefined ? {} : { dnsServers };
    return findSeeds(seeds, { ...options, ...servers, lattice });
  };
}

/** Why a node is no member here, for the moment or at all. */
function refusalOf(node: string, keeper: EpochKeeper, why?: CertificateError): AetherError {
  if (keeper.isRevoked(node)) return revokedError(node);
  return (keeper.isParticipant(node) ? why : undefined) ?? notMember(node);
}

/** Also for a node that was removed: its key is never let in again. */
export function excluded(): LatticeError {
  return new LatticeError('the other voters say that this node was put out of the lattice', {
    code: REVOKED,
    hint: 'start on an empty data folder with a new token',
  });
}

export function removed(): LatticeError {
  return new LatticeError('this node is no member of its lattice any more', {
    code: 'ERR_RING_REMOVED',
    hint: 'it has left or was not admitted; start on an empty data folder with a new token',
  });
}

function checkOptions(options: RingOptions): void {
  const roles = options.roles ?? FOUNDER_ROLES;
  const { name = 'any', weight = defaultWeight(roles) } = options;
  checkFacts({ name, roles, weight, ...place(options) });
  for (const seed of options.join ?? []) parseSeed(seed);
  const { certificateLifeMs: lifeMs = CERTIFICATE_LIFE_MS } = options;
  if (!(lifeMs >= CERTIFICATE_LIFE_MS_MIN && lifeMs <= CERTIFICATE_LIFE_MS_MAX)) {
    throw new AetherError('the option certificateLifeMs is out of its range', {
      code: 'ERR_RING_OPTION',
      hint: 'set it from 1 min to 7 d, as --certificate-life 24h',
    });
  }
  const { joinPatienceMs: patienceMs = JOIN_PATIENCE_MS } = options;
  if (!(patienceMs >= JOIN_PATIENCE_MS_MIN && patienceMs <= JOIN_PATIENCE_MS_MAX)) {
    throw new AetherError('the option joinPatienceMs is out of its range', {
      code: 'ERR_RING_OPTION',
      hint: 'set it from 1,000 to 3,600,000',
    });
  }
  const { listen, join: peers = [], log } = options;
  if (listen !== NO_ADDRESS) return;
  if (peers.length > 0 && options.roles?.includes('voter')) {
    throw new AetherError('a node that does not listen cannot vote', {
      code: 'ERR_RING_OPTION',
      hint: 'give it an address that others can dial: --listen host:port, or other roles',
    });
  }
  if ((options.weight ?? 0) > 0)
    log?.warn({ weight }, 'this node is to keep data, and others reach it through relays only');
}

function place({ zone, region }: RingOptions): { zone?: string; region?: string } {
  return { ...(zone === undefined ? {} : { zone }), ...(region === undefined ? {} : { region }) };
}

/**
 * How this start begins. The choice is kept before anything else is: a folder that was to join
 * never becomes a lattice of one.
 */
function beginning(
  options: RingOptions,
  store: RingStore,
  keeper: EpochKeeper,
): 'found' | 'join' | 'return' {
  const isJoining = (options.join?.length ?? 0) > 0;
  const token = options.token === undefined ? undefined : parseTokenText(options.token).token;
  if (keeper.number > 0) {
    const tag = latticeTag(store.lattice() ?? '');
    if (token !== undefined && !token.lattice.every((byte, i) => byte === tag[i]))
      throw new LatticeError('the data folder belongs to another lattice than the token', {
        hint: 'leave the token out, or start on an empty data folder',
      });
    // A join that was not finished may have been given up: asking again settles it either way.
    const isUnfinished = store.origin() === 'joined' && !store.hasServed();
    return isUnfinished && isJoining && token !== undefined ? 'join' : 'return';
  }
  const origin = store.origin() ?? (isJoining ? 'joined' : 'founded');
  if (origin === 'founded' && isJoining) {
    throw new LatticeError('the data folder is of a lattice that was founded on it', {
      hint: 'start on an empty data folder to join another',
    });
  }
  if (origin === 'joined' && !isJoining) {
    throw new LatticeError('this node was to join a lattice and has not done so yet', {
      code: 'ERR_RING_JOIN_UNFINISHED',
      hint: 'give the address and the token again: --join ADDRESS --token FILE',
    });
  }
  if (origin === 'joined' && token === undefined) throw tokenMissing();
  if (origin === 'founded' && token !== undefined) {
    throw new LatticeError('a token without an address to join at', {
      code: 'ERR_RING_OPTION',
      hint: 'add --join ADDRESS, or leave the token out to found a lattice',
    });
  }
  store.setOrigin(origin);
  return origin === 'founded' ? 'found' : 'join';
}

/**
 * With "any port" a node takes the one it had before, if it can: when all nodes of a lattice were
 * stopped, they find each other where they were.
 */
async function listenWhereBefore(
  peers: Peers,
  where: HostPort | undefined,
  store: RingStore,
): Promise<string> {
  if (where === undefined) {
    await peers.listen(undefined);
    return NO_ADDRESS;
  }
  const { host, port } = where;
  const before = store.port();
  let opened: HostPort | undefined;
  if (port === 0 && before !== undefined)
    opened = await peers.listen({ host, port: before }).catch(() => undefined);
  opened ??= await peers.listen({ host, port });
  store.setPort(opened.port);
  return formatAddress({ host: dialableHost(host), port: opened.port });
}

/**
 * Makes the lattice's root, lets it certify this node, and makes the node the only voter. Interrupted and begun again,
 * it goes on with the epoch that it had begun with.
 */
async function foundLattice(
  data: string,
  key: SigningKey,
  founder: EpochMember,
  acceptors: SqliteAcceptorStore,
): Promise<{ signed: SignedEpoch; lattice: string }> {
  const node = founder.id;
  const root = readKeyFile(join(data, 'root.key'));
  const issuer = readKeyFile(join(data, 'issuer.key')).publicKey;
  const lattice = latticeId(root.publicKey);
  const group = epochGroup(lattice);
  const begun = acceptors.load(group)?.log.snapshot as Snapshot<RegisterValue<Uint8Array>>;
  const first = firstValue(encodeEpoch(foundingEpoch(lattice, founder, { node, key: issuer })));
  const position = begun ?? { index: 1, ballot: { counter: 0, node, run: 0 } };
  const configuration = firstConfiguration([node]);
  const value = begun?.state ?? first;
  const { index, ballot } = position;
  if (begun === undefined)
    await foundRegister(acceptors, group, { index, ballot, configuration, state: value });
  const message = attestMessage(group, position, configuration, digestOf(value));
  const signatures = [{ node, signature: key.sign(message) }];
  const certificate = { index, ballot, configuration, value, signatures };
  const signature = root.sign(founderMessage(lattice, node));
  return { signed: { founder: { node, signature }, certificate }, lattice };
}
