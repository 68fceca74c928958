import { test } from 'tap';
import { type HostFacts, chooseTier, kernelTierObstacles } from './tier.ts';

const ALL_CAPABILITIES = (1n << 41n) - 1n;
const CAPABLE: HostFacts = {
  platform: 'linux',
  release: '6.1.0-13-amd64',
  capabilities: ALL_CAPABILITIES,
  cgroup2: '/sys/fs/cgroup',
  btf: true,
};

test('a capable host has no obstacle', (t) => {
  t.same(kernelTierObstacles(CAPABLE), []);
  t.end();
});

test('each missing piece is named', (t) => {
  const { cgroup2: _, ...withoutCgroup } = CAPABLE;
  t.same(kernelTierObstacles({ ...CAPABLE, capabilities: 0n }), [
    'no CAP_NET_ADMIN',
    'no CAP_PERFMON',
    'no CAP_BPF',
  ]);
  t.same(kernelTierObstacles(withoutCgroup), ['cgroup v2 is not mounted']);
  t.match(kernelTierObstacles({ ...CAPABLE, release: '4.19.0' }), [/4\.19\.0 is older/]);
  t.match(kernelTierObstacles({ ...CAPABLE, platform: 'darwin' }), [/needs Linux/]);
  t.end();
});

test('the report says why this tier, and what the host would carry', (t) => {
  const { tier, why } = chooseTier(CAPABLE);
  t.equal(tier, 'userspace');
  t.match(why[1], /could carry eBPF: kernel 6\.1\.0/);
  t.match(chooseTier({ ...CAPABLE, capabilities: 0n }).why, [
    /no kernel programs/,
    /CAP_NET_ADMIN/,
  ]);
  t.end();
});
