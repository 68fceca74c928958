'use strict';
/**
 * A lock file between processes of one machine that gives itself up when its holders die.
 *
 * It names its holders: the process that took it and the children it works through. Where the first is
 * killed, a child may still be writing, so the lock is free only once all of them are gone.
 */
const fs = require('node:fs');
const { dirname } = require('node:path');

/** A crash while a dead lock is being cleared leaves the guard behind; it is held for microseconds. */
const GUARD_STALE_MS = 5000;
const POLL_MS = 200;

/** A process as `pid:start`, so that a later process with the same pid is not taken for it; start is '' off Linux. */
function identity(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return `${pid}:${afterName[19]}`; // field 22 of proc(5): start time in ticks since boot
  } catch {
    return `${pid}:`;
  }
}

function isAlive(holder) {
  const pid = Number(holder.split(':')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
  return identity(pid) === holder;
}

/** Creates the file whole or not at all; false where it exists. A link, because a written file is empty at first. */
function createOnce(path, content) {
  const draft = `${path}.${process.pid}`;
  fs.writeFileSync(draft, content);
  try {
    fs.linkSync(draft, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function holdersOf(path) {
  try {
    return fs.readFileSync(path, 'utf8').split('\n').filter(Boolean);
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Removes the lock at `path` where its holders are dead; a guard file lets one process at a time judge that. */
function clearDead(path) {
  const guard = `${path}.guard`;
  if (!createOnce(guard, '')) {
    const { mtimeMs = Date.now() } = fs.statSync(guard, { throwIfNoEntry: false }) || {};
    if (Date.now() - mtimeMs > GUARD_STALE_MS) fs.rmSync(guard, { force: true });
    return;
  }
  const holders = holdersOf(path);
  if (holders !== undefined && !holders.some(isAlive)) fs.rmSync(path, { force: true });
  fs.rmSync(guard, { force: true });
}

/**
 * Takes the lock, waiting for as long as another process has it.
 *
 * @param {string} path
 * @param {(pid: string) => void} waiting called once with the holder's pid, if there is one to wait for
 * @returns {Promise<{ add(pid: number): void, release(): void }>} `add` names a child as holder too
 */
async function acquire(path, waiting) {
  fs.mkdirSync(dirname(path), { recursive: true });
  let told = false;
  while (!createOnce(path, `${identity(process.pid)}\n`)) {
    const holders = holdersOf(path) || [];
    const holder = holders.find(isAlive);
    if (holder === undefined) clearDead(path);
    else if (!told) {
      told = true;
      waiting(holder.split(':')[0]);
    }
    await new Promise((resolve) => setTimeout(resolve, holder === undefined ? 1 : POLL_MS));
  }
  return {
    add: (pid) => fs.appendFileSync(path, `${identity(pid)}\n`),
    release: () => fs.rmSync(path, { force: true }),
  };
}

module.exports = { acquire };
