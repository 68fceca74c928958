/**
 * Hosts on one machine: network namespaces on a switch, whose links can be cut, lossy or behind an address translation.
 *
 * They exist inside namespaces of one process (`amongHosts`). The kernel takes all of them away with it, however it ends;
 * nothing has a name outside, and there is nothing to be removed.
 */
import {
  type ChildProcess,
  execFileSync,
  fork,
  type ForkOptions,
  spawnSync,
} from 'node:child_process';
import type { Test } from 'tap';

/** Who is not root needs a user namespace as well. */
const UNSHARE: readonly string[] = [
  ...(process.getuid?.() === 0 ? [] : ['--map-root-user']),
  '--net',
  '--mount',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
];
const PROGRAM = 'unshare';
const BRIDGE = 'switch';
/** The 10.77.0.0/24 of the switch, and a network behind each translation. */
const PREFIX = 24;
const HOSTS_MAX = 250;
/** What a host's link is called where it is plugged in. */
const LINK = 'eth0';

/** Names of hosts are kept in /run, which is to be this process's own. */
const SET_UP = `mount -t tmpfs tmpfs /run && ip link set lo up &&
ip link add ${BRIDGE} type bridge mcast_snooping 0 && ip link set ${BRIDGE} up`;
/** Everything that hosts need of the kernel and its tools, in small. */
const TRIAL = `${SET_UP} && ip netns add a && ip link add name a type veth peer name ${LINK} netns a &&
nft 'table bridge trial { chain forward { type filter hook forward priority 0; iifname a numgen random mod 100 < 1 drop; }; }' &&
ip netns exec a nft 'table ip trial { chain out { type nat hook postrouting priority 100; masquerade; }; }'`;

/** The command that runs a program of Node as the first process of namespaces of its own, in which it may make a `Network`. */
export function commandAmongHosts(file: string, args: readonly string[] = []): [string, string[]] {
  const enter = `${SET_UP} && exec "$0" "$@"`;
  const program = [process.execPath, ...process.execArgv, file, ...args];
  return [PROGRAM, [...UNSHARE, 'sh', '-c', enter, ...program]];
}

/** @returns why this machine cannot have hosts, or undefined where it can. */
export function lacksHosts(): string | undefined {
  const trial = spawnSync(PROGRAM, [...UNSHARE, 'sh', '-c', TRIAL], { encoding: 'utf8' });
  if (trial.status === 0) return undefined;
  const why = trial.error?.message ?? trial.stderr.trim().split('\n')[0];
  return `hosts need Linux, iproute2, nftables and the right to make namespaces: ${why}`;
}

/** Runs a file of tests so; its tests are subtests of `t`. Skips where the machine cannot have hosts. */
export async function amongHosts(t: Test, file: string): Promise<void> {
  const lacking = lacksHosts();
  if (lacking !== undefined) {
    t.pass('skipped', { skip: lacking });
    return;
  }
  const [program, args] = commandAmongHosts(file);
  // What goes wrong in there is to be seen.
  await t.spawn(program, args, { stdio: [0, 'pipe', 2] }, file.split('/').at(-1));
}

/** A switch with hosts on it, and what is wrong with it. Everything is heard everywhere at first. */
export class Network {
  /** For what processes keep; gone with the network, and on no disk. */
  readonly folder = '/run';
  readonly #hosts: Host[] = [];
  #networks = 0;
  /** Rules of nftables, by what they are to do. */
  #faults: string[] = [];

  constructor() {
    // Whoever started this is gone: so are the hosts. The channel itself keeps nothing running.
    process.once('disconnect', () => process.exit(1));
    process.channel?.unref();
  }

  /** @param name also of its link at the switch; at most 15 characters */
  host(name: string): Host {
    const number = this.#hosts.length + 1;
    if (number > HOSTS_MAX) throw new Error('the switch has no more addresses');
    const host = new Host(name, `10.77.0.${number}`);
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    ip('link', 'add', 'name', name, 'type', 'veth', 'peer', 'name', LINK, 'netns', name);
    ip('link', 'set', name, 'master', BRIDGE, 'up');
    connect(host, LINK);
    this.#hosts.push(host);
    return host;
  }

  /**
   * A host that reaches the others and cannot be reached: its router on the switch, itself a host to be cut off, gives its own
   * address to what comes from it.
   */
  hostBehindRouter(name: string): { host: Host; router: Host } {
    const router = this.host(`${name}-router`);
    const [inside, outside] = ['inside', LINK];
    const network = `192.168.${this.#networks++}`;
    const host = new Host(name, `${network}.2`);
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    ip(
      '-n',
      router.name,
      'link',
      'add',
      inside,
      'type',
      'veth',
      'peer',
      'name',
      LINK,
      'netns',
      name,
    );
    connect(new Host(router.name, `${network}.1`), inside);
    connect(host, LINK);
    ip('-n', name, 'route', 'add', 'default', 'via', `${network}.1`);
    router.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    router.run(
      'nft',
      `table ip translation { chain out { type nat hook postrouting priority 100; oifname "${outside}" masquerade; }; }`,
    );
    return { host, router };
  }

  /** Nothing of what one of these sends reaches one of those. */
  cutOneWay(from: readonly Host[], to: readonly Host[]): void {
    this.#fault(`iifname ${set(from)} oifname ${set(to)} drop`);
  }

  cut(some: readonly Host[], others: readonly Host[]): void {
    this.cutOneWay(some, others);
    this.cutOneWay(others, some);
  }

  /** So many of a hundred packets between any two hosts are lost, at random. */
  lose(percent: number): void {
    this.#fault(`numgen random mod 100 < ${percent} counter drop`);
  }

  /** Packets that `lose` has dropped since it was called. */
  lost(): number {
    const rules = execFileSync('nft', ['list', 'chain', 'bridge', 'faults', 'forward'], {
      encoding: 'utf8',
    });
    return Number(/counter packets (\d+)/.exec(rules)?.[1] ?? 0);
  }

  /** Ends cuts and loss; a link that is pulled stays so. */
  heal(): void {
    this.#faults = [];
    this.#apply();
  }

  #fault(rule: string): void {
    this.#faults.push(rule);
    this.#apply();
  }

  /** All at once: nobody sees half of a change. */
  #apply(): void {
    const chain = [`type filter hook forward priority 0;`, ...this.#faults].join('\n');
    const ruleset = `table bridge faults\ndelete table bridge faults
table bridge faults {\nchain forward {\n${chain}\n}\n}\n`;
    execFileSync('nft', ['-f', '-'], { input: ruleset });
  }
}

/** A network of its own, on this machine's disks. */
export class Host {
  readonly name: string;
  readonly address: string;

  constructor(name: string, address: string) {
    this.name = name;
    this.address = address;
  }

  /** Runs a program there to its end. @returns what it printed */
  run(program: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, program, ...args], { encoding: 'utf8' });
  }

  /** Starts a module there in a process of its own, with a channel to this one. */
  fork(module: string, args: readonly string[] = [], options: ForkOptions = {}): ChildProcess {
    const { execArgv = process.execArgv, ...rest } = options;
    return fork(module, args, {
      ...rest,
      execPath: 'ip',
      execArgv: ['netns', 'exec', this.name, process.execPath, ...execArgv],
    });
  }

  /** Takes its link out of the switch, or plugs it in again. */
  plug(state: 'in' | 'out'): void {
    ip('link', 'set', this.name, state === 'in' ? 'up' : 'down');
  }
}

function connect({ name, address }: Host, link: string): void {
  ip('-n', name, 'address', 'add', `${address}/${PREFIX}`, 'broadcast', '+', 'dev', link);
  ip('-n', name, 'link', 'set', link, 'up');
}

function set(hosts: readonly Host[]): string {
  return `{ ${hosts.map(({ name }) => `"${name}"`).join(', ')} }`;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
