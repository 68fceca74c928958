'use strict';
/**
 * What `npm start`, `npm test` and the other scripts run: sets the checkout up where it is not, then runs
 * the command on a Node that can.
 *
 *   node cli/bootstrap/run.cjs COMMAND [ARGS]
 *
 * This folder is CommonJS and uses nothing but Node, because it runs before anything is installed, on
 * whatever Node is there.
 */
const NODE_MIN = 20;
if (Number(process.versions.node.split('.')[0]) < NODE_MIN) {
  console.error(
    `error ERR_SETUP_NODE: Aether cannot be set up with Node ${process.versions.node}\n` +
      `hint: put Node ${NODE_MIN} or newer on PATH and run the same command again`,
  );
  process.exit(1);
}

const { readdirSync, rmSync } = require('node:fs');
const { join, resolve } = require('node:path');
const { SetupError, setUp } = require('./setup.cjs');
const { run } = require('./run-program.cjs');

const ROOT = resolve(__dirname, '..', '..');

/** Node's type stripping, which `aether build` calls, is still announced as experimental. */
const QUIET = '--disable-warning=ExperimentalWarning';

/** Under it `aether/engine`, which examples and your workflows import, is the sources and not a build. */
const FROM_SOURCES = '--conditions=aether-source';

/** Messages of a simulated lattice live for a second or two: in a young generation this large (MiB) they die unmoved. */
const YOUNG = ['--min-semi-space-size=256', '--max-semi-space-size=256'];

/** @throws SetupError ERR_USAGE */
function example([name, ...args]) {
  const folder = join(ROOT, 'examples');
  const names = readdirSync(folder)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => file.slice(0, -'.ts'.length));
  if (names.includes(name)) return [['node', FROM_SOURCES, join(folder, `${name}.ts`), ...args]];
  throw new SetupError(
    'ERR_USAGE',
    name === undefined ? 'no example was named' : `no such example: ${name}`,
    `one of ${names.join(', ')}: npm run example -- ${names[0]}`,
    2,
  );
}

/** Each script as the programs it runs, in order; all of them run, so that one look shows all that is wrong. */
const COMMANDS = {
  aether: (args) => [['node', QUIET, FROM_SOURCES, join(ROOT, 'cli/main.ts'), ...args]],
  start: (args) => [['node', QUIET, 'cli/main.ts', 'dev', ...args]],
  test: (args) => [['tap', ...args]],
  check: () => [['tsc'], ['oxfmt', '--check'], ['oxlint', '--type-aware'], ['knip']],
  format: (args) => [['oxfmt', ...args]],
  example,
  bench: (args) => [['node', 'bench/main.ts', ...args]],
  sim: (args) => [['node', ...YOUNG, 'test/sim/main.ts', ...args]],
  build: () => {
    rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
    return [['tsc', '-p', 'tsconfig.build.json']];
  },
};

/** Files named on the command line of these are the caller's; npm has changed to the checkout. */
function folderOf(name) {
  return ['aether', 'example'].includes(name) ? process.env.INIT_CWD || process.cwd() : ROOT;
}

async function main(name, args) {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    console.error(
      `error ERR_USAGE: no such script: ${name}\nhint: one of ${Object.keys(COMMANDS).join(', ')}`,
    );
    return 2;
  }
  const env = await setUp(ROOT);
  let failed = 0;
  const programs = command(args);
  for (const [program, ...rest] of programs) {
    const started = Date.now();
    const { code, signal } = await run(program, rest, { cwd: folderOf(name), env });
    if (signal !== undefined || code > 128) return code;
    if (programs.length > 1) {
      const seconds = ((Date.now() - started) / 1000).toFixed(1);
      console.error(`${code === 0 ? '✓' : '✗'} ${[program, ...rest].join(' ')} (${seconds} s)`);
    }
    failed = failed || code;
  }
  return failed;
}

async function start() {
  try {
    process.exitCode = await main(process.argv[2] || '', process.argv.slice(3));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`error ${error.code}: ${error.message}\nhint: ${error.hint}`);
    process.exitCode = error.exitCode;
  }
}

void start();
