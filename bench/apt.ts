/** Debian packages that a benchmark compares with. */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';

const APT_GET = '/usr/bin/apt-get';
/** Debian's scripts ask this whether a service may be started; 101 says no. */
const SERVICE_POLICY = '/usr/sbin/policy-rc.d';

/** Installs the package and starts none of its services. @throws Error why it cannot be installed */
export function installPackage(name: string): void {
  if (process.getuid?.() !== 0 || !existsSync(APT_GET))
    throw new Error(`${name} can be installed only by root with apt-get`);
  const isOurs = !existsSync(SERVICE_POLICY);
  if (isOurs) writeFileSync(SERVICE_POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const install = (): boolean => aptGet('install', '--yes', '--no-install-recommends', name);
    if (!install() && !(aptGet('update') && install()))
      throw new Error(`apt-get could not install ${name}`);
  } finally {
    if (isOurs) rmSync(SERVICE_POLICY);
  }
}

function aptGet(...args: string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync(APT_GET, ['-qq', ...args], { env, stdio: ['ignore', 'ignore', 2] }).status === 0;
}
