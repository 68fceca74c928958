/**
 * The commands of `aether`: names, arguments, flags. What a command does is imported when it runs, so that
 * `--help` and a mistyped command cost nothing.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { type AetherError, NotAvailableError } from '../spec/error.ts';
import { packageFile } from '../spec/package-file.ts';
import type { CommonOptions, Context } from './context.ts';
import { EXIT, EXIT_MEANINGS } from './io/exit-code.ts';
import { usageError } from './usage.ts';

/** What a command ends with: its exit code, nothing for 0. */
type Outcome = Promise<number | void> | number | void;

/**
 * Carries out a command line.
 *
 * @param argv without the program and its file
 * @returns the exit code
 * @throws AetherError ERR_USAGE, or what the command throws
 */
export async function runProgram(argv: readonly string[]): Promise<number> {
  let code: number = EXIT.ok;
  const program = createProgram((outcome) => {
    code = outcome;
  });
  try {
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT.ok;
    throw asUsageError(error, argv);
  }
}

function exitCodesText(): string {
  const lines = Object.entries(EXIT_MEANINGS).map(
    ([name, meaning]) => `  ${String(EXIT[name as keyof typeof EXIT]).padEnd(4)}${meaning}`,
  );
  return `\nExit codes:\n${lines.join('\n')}`;
}

function createProgram(ended: (code: number) => void): Command {
  const program = new Command('aether')
    .description(
      'An ambient compute lattice: durable workflows and sandboxed Particles on a masterless ring.',
    )
    .version(packageVersion(), '-V, --version', 'show the version')
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .showSuggestionAfterError()
    .helpOption('-h, --help', 'show this')
    .helpCommand(false)
    .addHelpText('after', exitCodesText());

  /** Adds a command with the flags that all have; `act` gets a Context, then arguments and options. */
  const add = (
    parent: Command,
    usage: string,
    description: string,
    act: (context: Context, ...given: never[]) => Outcome,
    { asksNode = true }: { asksNode?: boolean } = {},
  ): Command => {
    const command = parent
      .command(usage)
      .description(description)
      .option('--json', 'JSON on stdout, also for errors');
    if (asksNode) {
      command.option(
        '--api <socket|url>',
        "a node's control API (default: AETHER_API, or the node of this folder)",
      );
    }
    return command.action(async (...given: unknown[]) => {
      const options = given.at(-2) as CommonOptions;
      const { json, api, ...own } = options;
      const { Context } = await import('./context.ts');
      // `up` says with --api where it listens.
      const context = new Context({ json, ...(asksNode ? { api } : {}) } as CommonOptions);
      const forAct = [
        ...given.slice(0, -2),
        asksNode ? own : { ...own, ...(api === undefined ? {} : { api }) },
      ];
      ended((await act(context, ...(forAct as never[]))) ?? EXIT.ok);
    });
  };
  const group = (name: string, description: string): Command =>
    program.command(name).description(description).helpCommand(false);
  const local = { asksNode: false };

  add(
    program,
    'dev',
    'a lattice of three nodes on this machine, with the sample application',
    async (context, options) => (await import('./commands/dev.ts')).dev(context, options),
    local,
  )
    .option('--check', 'prove the promises of the lattice, then end')
    .option('--data <dir>', 'folder of the lattice');

  /** The flags of a node that runs here. */
  const asNode = (command: Command): Command =>
    command
      .requiredOption('--data <dir>', 'folder of its key, journal and caches')
      .option('--name <name>', 'its name for people')
      .option('--listen <host:port>', "peers' address; none: reached through relays")
      .option('--ingress <host:port>', 'HTTP for Particles')
      .option('--api <host:port|socket>', 'control API (default: api.sock in the data folder)')
      .option(
        '--mdns',
        'let this node be found by mdns: on the local IPv4 network that it listens on',
      )
      .option('--zone <zone>', 'failure zone')
      .option('--region <region>', 'region')
      .option('--role <role>', 'voter, storage, compute or relay; may be repeated', collect)
      .option('--weight <n>', 'share of the ring; 0 keeps no data', number)
      .option(
        '--trust-disk',
        'your word that the data folder is what this node wrote last: a voter then votes at once after a restart of the machine; if it is a copy put back, the lattice may forget what it has decided, or split',
      )
      .option(
        '--certificate-life <duration>',
        'how long the certificates are good for that this node gives while it is a voter, 1m to 7d (default: 24h)',
      )
      .option('--cache <dir>', 'transpiled components; nodes of one machine may share it')
      .option('--workflows <module>', 'module whose default export is a list of workflows');

  asNode(
    add(
      program,
      'up',
      'run one node in the foreground',
      async (context, options) => (await import('./commands/up.ts')).up(context, options),
      local,
    ),
  )
    .option(
      '--join <seed>',
      'where members of the lattice are: HOST:PORT, dns:NAME (SRV records), dns:NAME:PORT, mdns: or mdns:LATTICE; may be repeated',
      collect,
    )
    .option('--token <file|->', 'file with the join token, - for standard input');

  add(
    program,
    'check [file]',
    'check an Aetherfile',
    async (context, file = 'Aetherfile') =>
      (await import('./commands/check.ts')).checkFile(context, file),
    local,
  );

  add(
    program,
    'build <module>',
    'build a component from TypeScript or JavaScript',
    async (context, entry, options) =>
      (await import('./commands/build.ts')).build(context, entry, options),
    local,
  )
    .option('-o, --output <file>', 'the component (default: beside the module)')
    .option('--cache <dir>', 'components built before', '.aether/build')
    .option('--wit <dir>', "WIT of the component's own world (default: Aether's)")
    .option('--world <world>', 'world in that WIT (default: http)')
    .option('--outgoing', 'with fetch, which an http or invoke grant has to allow');

  add(
    program,
    'deploy [file]',
    'deploy the app of an Aetherfile',
    async (context, file = 'Aetherfile', options) =>
      (await import('./commands/deploy.ts')).deploy(context, file, options),
  ).option('--detach', 'end once the deploy is durable (exit code 8)');

  add(
    program,
    'invoke <app/particle> <export> [args...]',
    'call an export of a Particle; arguments are JSON or text',
    async (context, target, name, args) =>
      (await import('./commands/particles.ts')).invokeParticle(context, target, name, args),
  );

  add(
    program,
    'ps',
    'Particles and their state, with the reason for each that does not run',
    async (context) => (await import('./commands/particles.ts')).listParticles(context),
  );

  add(
    program,
    'logs [app/particle]',
    'what Particles on the node wrote',
    async (context, target, options) =>
      (await import('./commands/particles.ts')).showLogs(context, target, options),
  ).option('-f, --follow', 'go on with what comes');

  const workflows = group('wf', 'workflows');
  add(workflows, 'list', 'workflows, the newest first', async (context, options) =>
    (await import('./commands/workflows.ts')).listWorkflows(context, options),
  )
    .option('--name <name>', 'of this type')
    .option('--status <status>', 'in this state')
    .option('--limit <n>', 'at most so many', number);
  add(workflows, 'show <id>', 'one workflow and its history', async (context, id, options) =>
    (await import('./commands/workflows.ts')).showWorkflow(context, id, options),
  ).option('--wait <duration>', 'wait so long for its end (exit code 8 when it goes on)');

  add(
    workflows,
    'history <id>',
    'print the history of a workflow as JSON, for `wf replay`',
    async (context, id, options) =>
      (await import('./commands/workflows.ts')).exportHistory(context, id, options),
  ).option('--run <id>', 'of an earlier run (default: the newest)');
  add(
    workflows,
    'replay <path...>',
    "replay histories, files or folders of them, against today's code; works without a node",
    async (context, paths, options) =>
      (await import('./commands/replay.ts')).replayHistories(context, paths, options),
    local,
  ).requiredOption('--workflows <module>', 'module whose default export is a list of workflows');

  const ring = group('ring', 'members and placement');
  add(ring, 'status', 'nodes, their state and their share of the ring', async (context) =>
    (await import('./commands/ring.ts')).ringStatus(context),
  );
  add(
    ring,
    'why <node>',
    'what led to the state in which the asked node sees another; by name or the first letters of its id',
    async (context, node) => (await import('./commands/ring.ts')).ringWhy(context, node),
  );
  add(
    ring,
    'owners <key>',
    'nodes that keep a key, the preferred one first',
    async (context, key, options) =>
      (await import('./commands/ring.ts')).ringOwners(context, key, options),
  ).option('--bucket <bucket>', 'the key is one of this bucket (default: of the ring itself)');

  const kv = group('kv', 'keys and values');
  const consistency = 'one, quorum, local-quorum or all';
  add(kv, 'create <bucket>', 'create a bucket', async (context, bucket, options) =>
    (await import('./commands/kv.ts')).kvCreate(context, bucket, options),
  )
    .option('--class <class>', 'eventual or strong', 'eventual')
    .option('--replicas <n>', 'copies of each key', number);
  add(kv, 'get <bucket> <key>', 'print a value', async (context, bucket, key, options) =>
    (await import('./commands/kv.ts')).kvGet(context, bucket, key, options),
  ).option('--consistency <level>', consistency);
  add(
    kv,
    'put <bucket> <key> [value]',
    'store a value, from standard input where none is given; prints its version',
    async (context, bucket, key, value, options) =>
      (await import('./commands/kv.ts')).kvPut(context, bucket, key, value, options),
  )
    .option('--file <file>', 'the value is what is in this file')
    .option('--if-version <version>', 'only if the key has this version now')
    .option('--if-absent', 'only if there is no such key')
    .option('--consistency <level>', consistency);
  add(kv, 'del <bucket> <key>', 'delete a key', async (context, bucket, key, options) =>
    (await import('./commands/kv.ts')).kvDelete(context, bucket, key, options),
  )
    .option('--if-version <version>', 'only if the key has this version now')
    .option('--consistency <level>', consistency);
  add(kv, 'list <bucket>', 'keys and versions', async (context, bucket, options) =>
    (await import('./commands/kv.ts')).kvList(context, bucket, options),
  )
    .option('--prefix <prefix>', 'keys that begin so')
    .option('--after <key>', 'go on after this key')
    .option('--limit <n>', 'at most so many', number);

  const capabilities = group('cap', 'capabilities and keys');
  const mint = capabilities.command('mint').description('make one').helpCommand(false);
  add(
    mint,
    'join',
    'print a token with which a node may join; works while no node runs',
    async (context, options) =>
      (await import('./commands/membership.ts')).mintJoin(context, options),
    local,
  )
    .requiredOption('--data <dir>', 'data folder of a node that may let others in')
    .option('--uses <n>', 'how often it can be used', number)
    .option('--expires <duration>', 'how long it can be used', '1h')
    .option('--role <role>', 'role that it allows; may be repeated', collect)
    .option('--zone <zone>', 'zone that it allows');

  add(
    capabilities,
    'inspect <token|file|->',
    'show what a token says, without its secret; works while no node runs',
    async (context, token) => (await import('./commands/capability.ts')).inspect(context, token),
    local,
  );
  add(
    capabilities,
    'revoke <node|token|file|->',
    'put a node out for good, or end a token (also by its id); at a voter',
    async (context, what) => (await import('./commands/capability.ts')).revoke(context, what),
  );
  add(
    capabilities,
    'export-root <file|->',
    'move the root key out of a data folder; - prints it and leaves it there',
    async (context, file, options) =>
      (await import('./commands/capability.ts')).exportRootKey(context, file, options),
    local,
  ).requiredOption('--data <dir>', 'data folder of the node that founded the lattice');
  add(
    capabilities,
    'rotate-root',
    'make a new key the root of the lattice, by the word of the newest one; at a voter',
    async (context, options) =>
      (await import('./commands/capability.ts')).rotateRoot(context, options),
  )
    .requiredOption('--root <file>', 'the newest root key')
    .requiredOption('--new <file>', 'where the new one is made; one that is there is used');
  add(
    capabilities,
    'rotate-issuer',
    'replace the key with which the node, a voter, lets others in and renews',
    async (context) => (await import('./commands/capability.ts')).rotateIssuer(context),
  );

  const nodes = group('node', 'nodes of the lattice');
  asNode(
    add(
      nodes,
      'join <seed...>',
      'run one node in the foreground that joins the lattice of the seeds, as `aether up --join`; once it has joined, `aether up` starts it',
      async (context, seeds, options) =>
        (await import('./commands/up.ts')).up(context, Object.assign(options, { join: seeds })),
      local,
    ),
  ).requiredOption('--token <file|->', 'file with the join token, - for standard input');
  add(
    nodes,
    'drain <node>',
    'move what a node keeps and runs to the others; it stays a member',
    async (context, node, options) =>
      (await import('./commands/membership.ts')).weigh(context, node, 0, options),
  ).option('--detach', 'end once the drain is durable (exit code 8)');
  add(
    nodes,
    'weigh <node> <weight>',
    'give a node another share of the ring, as after a drain',
    async (context, node, weight, options) =>
      (await import('./commands/membership.ts')).weigh(context, node, weightOf(weight), options),
  ).option('--detach', 'end once the change is durable (exit code 8)');
  add(
    nodes,
    'remove <node>',
    'take a node that is gone for good out of the lattice; it never comes back',
    async (context, node, options) =>
      (await import('./commands/membership.ts')).remove(context, node, options),
  ).option('--detach', 'end once the removal is durable (exit code 8)');
  add(
    nodes,
    'leave',
    'have the asked node hand its share over, leave the lattice for good and end; it goes on with that when it is started again',
    async (context, options) => (await import('./commands/membership.ts')).leave(context, options),
  ).option('--detach', 'end once the leave is durable (exit code 8)');

  add(
    program,
    'doctor',
    'check this machine, with a fix for each thing that is wrong',
    async (context, options) => (await import('./commands/doctor.ts')).doctor(context, options),
  )
    .option('--data <dir>', 'data folder to check', '.aether')
    .option('--listen <host:port>', 'address to try; may be repeated', collect);

  for (const [parent, before, names] of [
    [program, '', LATER],
    [workflows, 'wf ', LATER_OF_WORKFLOWS],
  ] as const) {
    for (const name of names) {
      parent
        .command(name, { hidden: true })
        .allowUnknownOption()
        .allowExcessArguments()
        .action(() => {
          throw new NotAvailableError(`aether ${before}${name}: not in this release`, {
            hint: 'CHANGELOG.md says what each release brings',
          });
        });
    }
  }
  program
    .command('join', { hidden: true })
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() => {
      throw usageError("unknown command 'join'", 'aether node join SEED --data DIR --token FILE');
    });
  return program;
}

/** Commands of the design that this release answers with ERR_NOT_AVAILABLE. */
const LATER = [
  'init',
  'fmt',
  'plan',
  'rollback',
  'scale',
  'trace',
  'top',
  'flows',
  'policy',
  'replay',
  'lab',
  'bench',
  'spec',
  'explain',
  'completion',
] as const;
const LATER_OF_WORKFLOWS = ['attach', 'signal', 'query', 'cancel'] as const;

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError('It is not a number from 0 on.');
  }
  return value;
}

function weightOf(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0))
    throw usageError(`${JSON.stringify(text)} is no weight`, 'a weight is a number from 0 on');
  return value;
}

/** "error: unknown command 'x'\n(Did you mean y?)" and its like as one of our errors. */
function asUsageError({ message, code }: CommanderError, argv: readonly string[]): AetherError {
  if (code === 'commander.help') {
    const asked = ['aether', ...argv.filter((word) => !word.startsWith('-'))].join(' ');
    return usageError(`${asked}: no command was given`, `${asked} --help lists them`);
  }
  const [first = '', suggestion] = message.replace(/^error: /, '').split('\n');
  return usageError(
    first,
    suggestion?.replace(/^\((.*)\)$/, '$1') ??
      'aether --help lists commands, aether COMMAND --help flags',
  );
}
