/** Which datapath tier a host can carry, and why: a function of what was read off the host. */

export type Tier = 'ebpf' | 'userspace';

export interface TierReport {
  tier: Tier;
  /** Each reason is one clause; the first says why this tier and not the other. */
  why: string[];
}

/** What decides the tier. */
export interface HostFacts {
  platform: string;
  /** Kernel release, such as `6.18.5`. */
  release: string;
  /** Effective capabilities of this process (the CapEff mask of /proc/self/status). */
  capabilities: bigint;
  /** Where cgroup v2 is mounted, if it is. */
  cgroup2?: string;
  /** True when the kernel describes its own types (/sys/kernel/btf/vmlinux). */
  btf: boolean;
  /** Where the BPF file system is mounted, if it is. */
  bpffs?: string;
}

/** capability(7): the three that loading, attaching and reading take together. */
const NEEDED = [
  { name: 'CAP_NET_ADMIN', bit: 12n },
  { name: 'CAP_PERFMON', bit: 38n },
  { name: 'CAP_BPF', bit: 39n },
] as const;

/** Below this, bpf_link on cgroup hooks and ring buffers are not complete. */
const KERNEL_MIN = [5, 10] as const;

/** Reasons why the kernel tier cannot run on a host; none when it could. */
export function kernelTierObstacles(facts: HostFacts): string[] {
  if (facts.platform !== 'linux') return [`eBPF needs Linux, this is ${facts.platform}`];
  const obstacles: string[] = NEEDED.filter(
    ({ bit }) => (facts.capabilities & (1n << bit)) === 0n,
  ).map(({ name }) => `no ${name}`);
  const [major = 0, minor = 0] = facts.release.split('.').map(Number);
  if (major < KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor < KERNEL_MIN[1])) {
    obstacles.push(`kernel ${facts.release} is older than ${KERNEL_MIN.join('.')}`);
  }
  if (facts.cgroup2 === undefined) obstacles.push('cgroup v2 is not mounted');
  return obstacles;
}

/** The tier of this release: userspace everywhere; the report says what the host would carry. */
export function chooseTier(facts: HostFacts): TierReport {
  const obstacles = kernelTierObstacles(facts);
  const host =
    obstacles.length > 0
      ? obstacles
      : [
          `this host could carry eBPF: kernel ${facts.release}, ${NEEDED.map((c) => c.name).join(', ')}, cgroup v2`,
        ];
  return { tier: 'userspace', why: ['this release has no kernel programs', ...host] };
}
