/** A PostgreSQL of the benchmark's own: data, socket and processes are in its folder and end with it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { installPackage } from '../apt.ts';
import { Keeper } from './keeper.ts';
import type { Backend } from './subject.ts';
import { readTail } from './tail.ts';

/** Where Debian has its versions. */
const DEBIAN = '/usr/lib/postgresql';
const PACKAGE = 'postgresql-15';
const START_MS = 30_000;

/** Who the server runs as: it refuses to be root's. */
const USERS = ['postgres', 'nobody'];

const SETTINGS: Readonly<Record<string, string>> = {
  fsync: 'on',
  synchronous_commit: 'on',
  // Only a socket in a folder that nobody else may enter: there is no password.
  listen_addresses: '',
  unix_socket_permissions: '0700',
  // Room enough that no checkpoint falls into a measurement.
  shared_buffers: '512MB',
  max_wal_size: '4GB',
  checkpoint_timeout: '30min',
};

export function postgresIsInstalled(): boolean {
  return findPrograms() !== undefined;
}

/** @throws Error why it cannot be installed */
export function installPostgres(): void {
  installPackage(PACKAGE);
}

/** @throws Error why it does not start */
export async function startPostgres(folder: string): Promise<Backend> {
  const programs = findPrograms();
  if (programs === undefined) {
    throw new Error('PostgreSQL is not installed; --with-peers installs it for root with apt-get');
  }
  const home = join(folder, 'postgres');
  const data = join(home, 'data');
  const log = join(folder, 'postgres.log');
  mkdirSync(home, { mode: 0o700 });
  const user = otherUser();
  if (user !== undefined) {
    chownSync(home, user.uid, user.gid);
    // The way to it, of which the caller keeps the rest open.
    chmodSync(folder, 0o711);
  }
  const run = { cwd: home, encoding: 'utf8', ...user } as const;
  const made = spawnSync(
    join(programs, 'initdb'),
    ['--pgdata', data, '--auth=trust', '--username=postgres', '--encoding=UTF8', '--no-locale'],
    run,
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.error?.message ?? made.stderr.trim()}`);
  const settings = { ...SETTINGS, unix_socket_directories: home };
  const keeper = new Keeper(
    {
      program: join(programs, 'postgres'),
      args: [
        '-D',
        data,
        ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]),
      ],
      folder: home,
      ...(user === undefined ? {} : { user }),
      // At once, but with its shared memory given back.
      endSignal: 'SIGQUIT',
    },
    log,
  );
  let ended: string | undefined;
  void keeper.ended.then((why) => (ended = why));
  const untilMs = performance.now() + START_MS;
  const isReady = (): boolean =>
    spawnSync(join(programs, 'pg_isready'), ['--quiet', '--host', home], run).status === 0;
  while (!isReady()) {
    if (ended !== undefined) throw new Error(`PostgreSQL ended: ${ended}`);
    if (performance.now() > untilMs) {
      await keeper.stop();
      throw new Error(`PostgreSQL did not start: ${readTail(log)}`);
    }
    await new Promise((resolve) => void setTimeout(resolve, 50));
  }
  const host = encodeURIComponent(home);
  return {
    address: `postgresql://postgres@localhost/bench?host=${host}`,
    stop: () => keeper.stop(),
  };
}

/** The folder of the newest `postgres` on this machine. */
function findPrograms(): string | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).toSorted((a, b) => +b - +a) : [];
  const folders = [
    ...versions.map((version) => join(DEBIAN, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(':'),
  ];
  return folders.find((bin) =>
    ['postgres', 'initdb', 'pg_isready'].every((program) => existsSync(join(bin, program))),
  );
}

function otherUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (option: string, user: string): number =>
    Number(
      execFileSync('id', [option, user], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
    );
  for (const user of USERS) {
    try {
      return { uid: id('-u', user), gid: id('-g', user) };
    } catch {
      // There is no such user.
    }
  }
  throw new Error(`PostgreSQL refuses to run as root, and there is no user ${USERS.join(' or ')}`);
}
