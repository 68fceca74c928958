/** `aether dev`: a lattice of three node processes with the sample application; with `--check`, the proofs of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import type { Context } from '../context.ts';
import { LocalLattice, type LocalNode } from '../dev/local-lattice.ts';
import { type Proof, prove } from '../dev/proof.ts';
import { type Sample, loadSample } from '../dev/sample.ts';
import { EXIT } from '../io/exit-code.ts';
import { postBundle } from '../io/bundle.ts';
import { segment } from '../io/control-client.ts';
import type { LatticeStatus } from './ring.ts';

export interface DevOptions {
  /** Proves the lattice's promises in a folder of its own, and ends. */
  check?: boolean;
  /** Folder of the lattice. Default `.aether/dev`, with `--check` a new temporary one. */
  data?: string;
}

const NODES = 3;
const DEFAULT_FOLDER = '.aether/dev';

interface Run {
  status: string;
  error?: { message: string };
}

interface History {
  events: { kind: string; name?: string }[];
}

/** @returns the exit code. */
export async function dev(context: Context, options: DevOptions): Promise<number> {
  const { out } = context;
  out.say('building the sample application (kept for the next time)…');
  const sample = await loadSample(resolve('.aether/build'));
  const interrupted = context.interrupted;
  process.once('SIGTERM', () => process.emit('SIGINT'));
  const temporary =
    options.check === true && options.data === undefined
      ? mkdtempSync(join(tmpdir(), 'aether-check-'))
      : undefined;
  const folder = temporary ?? resolve(options.data ?? DEFAULT_FOLDER);
  const startedMs = performance.now();
  const lattice = await LocalLattice.plan(folder, NODES);
  try {
    await lattice.start();
    const bootMs = performance.now() - startedMs;
    const [first] = lattice.nodes as [LocalNode];
    const deployed = await deploySample(first, sample);
    const deployMs = performance.now() - startedMs - bootMs;
    const status = await first.client.json<LatticeStatus>('/status');
    const invite = options.check !== true;
    const seen = { context, lattice, sample, status, deployed, bootMs, deployMs, invite };
    out.say(picture(seen));
    if (options.check === true) return await check(context, lattice, sample);
    if (out.json) out.line(JSON.stringify({ ...status, deployed, ingress: first.ingress }));
    lattice.onEnded((node, signal) => {
      out.say(`${node.name} ended (${signal}); Ctrl-C and another start bring it back`);
    });
    await aborted(interrupted);
    lattice.onEnded(undefined);
    out.say('stopping…');
    return EXIT.ok;
  } catch (error) {
    // Ctrl-C reaches the nodes too: what then fails here is only that they end.
    if (interrupted.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    await lattice.stop();
    if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
  }
}

async function check(context: Context, lattice: LocalLattice, sample: Sample): Promise<number> {
  const { out } = context;
  const proofs: Proof[] = [];
  for await (const proof of prove(lattice, sample)) {
    proofs.push(proof);
    const { claim, ok, seen } = proof;
    if (out.json) out.line(JSON.stringify(proof));
    else
      out.line(`${ok ? out.paint.green('ok    ') : out.paint.red('not ok')} ${claim}  (${seen})`);
    if (context.interrupted.aborted) return EXIT.interrupted;
  }
  const failed = proofs.filter(({ ok }) => !ok).length;
  out.say(`${proofs.length - failed} proofs hold, ${failed} do not`);
  return failed === 0 ? EXIT.ok : EXIT.failed;
}

interface Deployed {
  workflow: string;
  /** It was deployed before. */
  existing: boolean;
  steps: string[];
}

async function deploySample(node: LocalNode, sample: Sample): Promise<Deployed> {
  const { workflow, existing } = await postBundle(node.client, sample);
  let run: Run;
  do {
    run = await node.client.json<Run>(`/workflows/${segment(workflow)}`, {
      query: { wait: '10s' },
    });
  } while (run.status === 'running' || run.status === 'sleeping');
  if (run.status !== 'completed') {
    throw new Error(`the deploy is ${run.status}: ${run.error?.message ?? ''}`);
  }
  const { events } = await node.client.json<History>(`/workflows/${segment(workflow)}/history`);
  const steps = events
    .filter(({ kind }) => kind === 'step-completed')
    .map(({ name }) => name ?? '');
  return { workflow, existing, steps };
}

interface Picture {
  context: Context;
  lattice: LocalLattice;
  sample: Sample;
  status: LatticeStatus;
  deployed: Deployed;
  bootMs: number;
  deployMs: number;
  /** Whether to say what to do next. */
  invite: boolean;
}

/** What a newcomer sees: every figure is one that was measured. */
function picture({
  context,
  lattice,
  sample,
  status,
  deployed,
  bootMs,
  deployMs,
  invite,
}: Picture): string {
  const { paintTalk: paint } = context.out;
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  const members = status.members.map(
    ({ name, state, ownership }) =>
      `${state === 'alive' ? paint.green('●') : paint.red('●')} ${name}  ring ${(ownership * 100).toFixed(1)}%`,
  );
  return [
    '',
    `  ${paint.bold('aether')}   lattice ${status.lattice.slice(0, 9)}   ${lattice.nodes.length} nodes in ${seconds(bootMs)}   epoch ${status.epoch}`,
    `  ${members.join('   ')}`,
    `  datapath: ${status.datapath.tier} (${status.datapath.why.join('; ')})`,
    deployed.existing
      ? `  ${sample.app} ${sample.version} is deployed, by workflow ${deployed.workflow}:`
      : `  deployed ${sample.app} ${sample.version} by workflow ${deployed.workflow}, ${deployed.steps.length} steps in ${seconds(deployMs)}:`,
    ...deployed.steps.map((step) => `    ${paint.green('✓')} ${step}`),
    ...(invite ? invitation({ lattice, sample, deployed }) : []),
    '',
  ].join('\n');
}

/** What to do next, with commands that can be copied. */
function invitation({
  lattice,
  sample,
  deployed,
}: Pick<Picture, 'lattice' | 'sample' | 'deployed'>): string[] {
  const [first, , third] = lattice.nodes as [LocalNode, LocalNode, LocalNode];
  const near = relative('.', third.data);
  const folder = near.startsWith('..') ? third.data : near;
  // A built package has a program of that name; a checkout has a script that runs the sources.
  const aether = import.meta.url.endsWith('.ts') ? 'npm run -s aether --' : 'npx aether';
  const isDefault = resolve(DEFAULT_FOLDER, first.name) === first.data;
  const at = isDefault ? '' : ` --api ${first.data}/api.sock`;
  return [
    '',
    `  try:       curl http://${first.ingress}/hit     (any node: ${lattice.nodes.map(({ ingress }) => ingress).join(', ')})`,
    `  break it:  kill -9 ${third.process?.pid ?? ''}     (${third.name}, data in ${folder}); then curl again, and: ${aether} ring status${at}`,
    `  look:      ${aether} ps${at}     (or: wf show ${deployed.workflow}, kv list ${sample.app}.tallies)`,
    `  stop:      Ctrl-C`,
  ];
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    signal.addEventListener('abort', () => done(), { once: true });
  });
}
