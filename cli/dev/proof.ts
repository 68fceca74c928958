/**
 * What the lattice promises, shown on a running one: each proof is a line that holds or does not.
 *
 * Proofs change the lattice: they kill nodes, for good in the end.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { FAILPOINT_VARIABLE } from '../daemon/failpoint.ts';
import { postBundle } from '../io/bundle.ts';
import { segment } from '../io/control-client.ts';
import type { LocalLattice, LocalNode } from './local-lattice.ts';
import { type Sample, withVersion } from './sample.ts';

export interface Proof {
  /** What holds if it passed. */
  claim: string;
  ok: boolean;
  /** What was seen. */
  seen: string;
}

interface Submitted {
  workflow: string;
}

interface Run {
  status: string;
  error?: { message: string };
}

interface EffectRow {
  step: string;
  name: string;
  node: string;
  deliveries: number;
}

interface Count {
  count: number;
}

const KEYS = 40;
const BUCKET = 'proof';
/** The longest any single thing that a proof waits for may take. */
const WAIT_TIMEOUT_MS = 60_000;

/** Runs every proof in turn; the last one ends the lattice. */
export async function* prove(lattice: LocalLattice, sample: Sample): AsyncGenerator<Proof> {
  yield* proveIngress(lattice);
  yield* proveResume(lattice, sample);
  yield* proveLoss(lattice);
  yield proveNothingLeft(lattice, await stopped(lattice));
}

async function* proveIngress(lattice: LocalLattice): AsyncGenerator<Proof> {
  const [first] = lattice.nodes as [LocalNode];
  let expected = (await get(first, '/count')).count;
  for (const node of lattice.nodes) {
    expected += 1;
    const { count, seen } = await get(node, '/hit');
    yield proof(
      `curl http://${node.ingress}/hit answers through ${node.name}`,
      count === expected,
      seen,
    );
  }
  for (const node of lattice.nodes) {
    const { count, seen } = await get(node, '/count');
    yield proof(`the counter's state is the same through ${node.name}`, count === expected, seen);
  }
}

/** Cuts the owner of a deploy off at each step, in both places, and lets it come back. */
async function* proveResume(lattice: LocalLattice, sample: Sample): AsyncGenerator<Proof> {
  const [owner] = lattice.nodes as [LocalNode];
  const whole = await deploy(owner, withVersion(sample, '2.0.0'));
  await finished(owner, whole.workflow);
  const steps = (await stepsOf(owner, whole.workflow)).length;
  let patch = 0;
  for (const place of ['after-commit', 'after-effect']) {
    for (let index = 0; index < steps; index++) {
      patch += 1;
      await lattice.kill(owner);
      await lattice.startNode(owner, { env: { [FAILPOINT_VARIABLE]: `${place}:${index}` } });
      const submitted = await deploy(owner, withVersion(sample, `2.0.${patch}`));
      const signal = await lattice.ended(owner);
      await lattice.startNode(owner);
      const { status, error } = await finished(owner, submitted.workflow);
      const names = await stepsOf(owner, submitted.workflow);
      const problem =
        signal === 'SIGKILL'
          ? status === 'completed'
            ? await effectProblem(owner, submitted.workflow, names, place, index)
            : `it is ${status}: ${error?.message ?? ''}`
          : `the node was not killed there (${signal})`;
      const where = place === 'after-commit' ? 'after the commit' : 'after the effect';
      yield proof(
        `kill -9 of the deploy's owner ${where} of step ${index + 1}/${steps} (${names[index]}): it goes on from there`,
        problem === undefined,
        problem ?? `completed, each of ${steps} steps once`,
      );
    }
  }
}

/** What is wrong with the effects of a finished deploy; undefined when each step's is there once. */
async function effectProblem(
  node: LocalNode,
  workflow: string,
  steps: string[],
  place: string,
  cutAt: number,
): Promise<string | undefined> {
  const { effects } = await node.client.json<{ effects: EffectRow[] }>('/effects', {
    query: { workflow },
  });
  const seen = effects.map(({ name }) => name).toSorted();
  // The plan only reads; every other step has one effect.
  const wanted = steps.filter((name) => name !== 'plan').toSorted();
  if (JSON.stringify(seen) !== JSON.stringify(wanted)) {
    return `effects: ${seen.join(', ')}; steps: ${wanted.join(', ')}`;
  }
  const again = effects.filter(({ name, deliveries }) => {
    const cutOff = place === 'after-effect' && name === steps[cutAt];
    return deliveries > (cutOff ? 2 : 1);
  });
  if (again.length === 0) return undefined;
  return `asked for again although finished: ${again.map(({ name }) => name).join(', ')}`;
}

/** Kills one node for good under reads and writes. */
async function* proveLoss(lattice: LocalLattice): AsyncGenerator<Proof> {
  const [first, second, victim] = lattice.nodes as [LocalNode, LocalNode, LocalNode];
  await first.client.json(`/kv/${BUCKET}`, { method: 'PUT', json: { class: 'eventual' } });
  const written = new Map<string, string>();
  const write = async (node: LocalNode, key: string): Promise<void> => {
    const value = `${key} of ${node.name}`;
    await node.client.call(`/kv/${BUCKET}/${segment(key)}`, {
      method: 'PUT',
      body: new TextEncoder().encode(value),
    });
    written.set(key, value);
  };
  for (let i = 0; i < KEYS; i++) {
    await write(lattice.nodes[i % lattice.nodes.length] as LocalNode, `before-${i}`);
  }
  const before = (await get(first, '/count')).count;
  await lattice.kill(victim);
  for (let i = 0; i < KEYS; i++) await write(i % 2 === 0 ? first : second, `after-${i}`);
  const hit = await get(second, '/hit', WAIT_TIMEOUT_MS);
  const hitAgain = await get(first, '/hit', WAIT_TIMEOUT_MS);
  yield proof(
    `${victim.name} killed for good: ${KEYS} writes at quorum go on`,
    written.size === 2 * KEYS,
    `${written.size - KEYS} acknowledged`,
  );
  let lost = 0;
  for (const node of [first, second]) {
    for (const [key, value] of written) {
      const { body } = await node.client.call(`/kv/${BUCKET}/${segment(key)}`);
      if (new TextDecoder().decode(body) !== value) lost += 1;
    }
  }
  yield proof(
    'nothing acknowledged is lost',
    lost === 0,
    `${2 * written.size} reads at quorum, ${lost} wrong`,
  );
  yield proof(
    'the counter goes on from its state',
    hit.count > before && hitAgain.count === hit.count + 1,
    `${before}, then ${hit.count} and ${hitAgain.count}`,
  );
}

async function stopped(lattice: LocalLattice): Promise<number[]> {
  const pids = lattice.nodes.flatMap(({ process: child }) => child?.pid ?? []);
  await lattice.stop();
  return pids;
}

/** Looks for processes that work on a folder of the lattice, whoever started them. */
function proveNothingLeft(lattice: LocalLattice, stoppedPids: number[]): Proof {
  const folders = lattice.nodes.map(({ data }) => data);
  const left = readdirSync('/proc').filter((entry) => {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return false;
    try {
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8');
      return folders.some((folder) => command.split('\0').includes(`--data=${folder}`));
    } catch {
      return false;
    }
  });
  return proof(
    'no process is left',
    left.length === 0,
    left.length === 0 ? `${stoppedPids.length} nodes stopped` : `pids ${left.join(', ')}`,
  );
}

async function deploy(node: LocalNode, sample: Sample): Promise<Submitted> {
  return postBundle(node.client, sample);
}

async function finished(node: LocalNode, workflow: string): Promise<Run> {
  const deadline = performance.now() + WAIT_TIMEOUT_MS;
  for (;;) {
    const run = await node.client.json<Run>(`/workflows/${segment(workflow)}`, {
      query: { wait: '10s' },
    });
    const isOpen = run.status === 'running' || run.status === 'sleeping';
    if (!isOpen || performance.now() > deadline) return run;
  }
}

/** Names of the steps that a run has finished, in order. */
async function stepsOf(node: LocalNode, workflow: string): Promise<string[]> {
  const { events } = await node.client.json<{ events: { kind: string; name?: string }[] }>(
    `/workflows/${segment(workflow)}/history`,
  );
  return events.filter(({ kind }) => kind === STEP_FINISHED).map(({ name }) => name ?? '');
}

const STEP_FINISHED = 'step-completed';

/** A count read through a node's ingress; tries again within `patienceMs` when no answer comes. */
async function get(
  node: LocalNode,
  path: string,
  patienceMs = 0,
): Promise<{ count: number; seen: string }> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      const response = await fetch(`http://${node.ingress}${path}`);
      const text = (await response.text()).trim();
      if (response.ok) return { count: (JSON.parse(text) as Count).count, seen: text };
      if (performance.now() >= deadline)
        return { count: Number.NaN, seen: `${response.status} ${text}` };
    } catch (error) {
      if (performance.now() >= deadline) {
        return { count: Number.NaN, seen: (error as Error).message };
      }
    }
    await delay(100);
  }
}

function proof(claim: string, ok: boolean, seen: string): Proof {
  return { claim, ok, seen };
}
