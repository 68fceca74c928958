import { existsSync, readFileSync } from 'node:fs';
import { platform, release } from 'node:os';
import { AetherError } from '../../spec/error.ts';
import { type HostFacts, type Tier, type TierReport, chooseTier } from '../core/tier.ts';

/** Reads what decides the tier off this host. Reads files only; changes nothing. */
export function hostFacts(): HostFacts {
  const facts: HostFacts = {
    platform: platform(),
    release: release(),
    capabilities: effectiveCapabilities(read('/proc/self/status')),
    btf: existsSync('/sys/kernel/btf/vmlinux'),
  };
  for (const line of read('/proc/self/mounts').split('\n')) {
    const [, point, type] = line.split(' ');
    if (type === 'cgroup2' && point !== undefined) facts.cgroup2 ??= point;
    if (type === 'bpf' && point !== undefined) facts.bpffs ??= point;
  }
  return facts;
}

/**
 * The datapath tier of this host, and why.
 *
 * @param require fails closed when this tier is not to be had.
 * @throws AetherError ERR_DATAPATH_TIER. Nothing was changed.
 */
export function detectTier(require?: Tier): TierReport {
  const report = chooseTier(hostFacts());
  if (require !== undefined && require !== report.tier) {
    throw new AetherError(`datapath tier "${require}" is required: ${report.why.join('; ')}`, {
      code: 'ERR_DATAPATH_TIER',
      hint: 'drop the requirement, or run on a host and a release that carry it',
    });
  }
  return report;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function effectiveCapabilities(status: string): bigint {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return mask === undefined ? 0n : BigInt(`0x${mask}`);
}
