'use strict';
/** Programs run in the foreground, as a shell would: their signals, their exit code. */
const { spawn } = require('node:child_process');
const { constants } = require('node:os');

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** A signal from one keystroke or one kill may come by several ways (terminal, npm, process group). */
const SAME_SIGNAL_MS = 500;

/** An npm that was killed tells nobody: how often to look whether it is still there. */
const PARENT_CHECK_MS = 500;

/**
 * Runs a program to its end.
 *
 * A terminal gives Ctrl-C to every process of its foreground group, so the program has had it already and
 * it is not passed on; all other signals are. The end of the npm that runs this counts as SIGTERM.
 *
 * @param {string} program looked up on `options.env.PATH`
 * @param {string[]} args
 * @param {object} options those of `spawn`, and `started(pid)`, called once it runs
 * @returns {Promise<{ code: number, signal?: string }>} its exit code: 128 + N where signal N ended it, 127
 *   where it does not exist; and the first signal that this process got meanwhile
 */
function run(program, args, options) {
  const { started, ...spawnOptions } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', ...spawnOptions });
    const passedOnAt = new Map();
    let received;
    const passOn = (signal) => {
      received = received || signal;
      if (signal === 'SIGINT' && process.stdin.isTTY) return;
      if (Date.now() - (passedOnAt.get(signal) || 0) < SAME_SIGNAL_MS) return;
      passedOnAt.set(signal, Date.now());
      child.kill(signal);
    };
    let parent = process.ppid;
    const watch = setInterval(() => {
      if (process.env.npm_lifecycle_event === undefined || process.ppid === parent) return;
      parent = process.ppid;
      passOn('SIGTERM');
    }, PARENT_CHECK_MS);
    const settle = (finish, value) => {
      clearInterval(watch);
      for (const signal of SIGNALS) process.removeListener(signal, passOn);
      finish(value);
    };
    for (const signal of SIGNALS) process.on(signal, passOn);
    child.once('spawn', () => started && started(child.pid));
    child.once('error', (error) => {
      if (error.code === 'ENOENT') settle(resolve, { code: 127 });
      else settle(reject, error);
    });
    child.once('close', (code, signal) =>
      settle(resolve, {
        code: code === null ? 128 + constants.signals[signal] : code,
        signal: received,
      }),
    );
  });
}

module.exports = { run };
