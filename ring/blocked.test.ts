/** What becomes of a node whose main loop is busy or blocked, as others see it and as it sees others. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { Command, Said } from './blocked.testchild.ts';
import { type MemberView, mintJoinToken, Ring, type RingOptions } from './index.ts';

/** A suspect is dead after 1.2 s: much sooner than a loop is blocked here. */
const swim = {
  probeIntervalMs: 600,
  ackTimeoutMs: 300,
  suspicionPeriods: 2,
  reconnectIntervalMs: 300,
  silenceMs: 4_000,
};

class Child {
  readonly id: string;
  readonly said: Said[] = [];
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  #wake: () => void = () => {};

  constructor(id: string, running: ChildProcess) {
    this.id = id;
    this.#process = running;
    this.#exited = once(running, 'exit');
    running.on('message', (said: Said) => {
      this.said.push(said);
      this.#wake();
    });
  }

  async does(command: Command): Promise<void> {
    const before = this.#dones;
    this.#process.send(command);
    while (this.#dones === before) await new Promise<void>((done) => (this.#wake = done));
  }

  /** @returns its exit status: it ends by itself. */
  async end(): Promise<number | null> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#exited;
    return this.#process.exitCode;
  }

  get #dones(): number {
    return this.said.filter(({ kind }) => kind === 'done').length;
  }

  /** What it said of others. */
  get heard(): string[] {
    return this.said.flatMap((each) =>
      each.kind === 'heard' ? [`${each.name} ${each.state}`] : [],
    );
  }
}

/** Two nodes here and one in a process of its own, and what the two hear of that one from now on. */
async function lattice(
  t: Test,
): Promise<{ a: Ring; b: Ring; c: Child; states: MemberView['state'][] }> {
  const data = (name: string): string => join(folder, name);
  const folder = t.testdir();
  const open = async (name: string, more: Partial<RingOptions> = {}): Promise<Ring> => {
    const ring = await Ring.open({ data: data(name), name, swim, ...more });
    t.teardown(() => ring.close());
    return ring;
  };
  const a = await open('a');
  const token = mintJoinToken(data('a'), { uses: 2 });
  const b = await open('b', { join: [a.address], token });
  const options: RingOptions = {
    data: data('c'),
    name: 'c',
    swim,
    join: [a.address],
    token,
    roles: ['compute'],
  };
  const running = fork(join(import.meta.dirname, 'blocked.testchild.ts'), [
    JSON.stringify(options),
  ]);
  t.teardown(() => running.kill('SIGKILL'));
  const [up] = (await once(running, 'message')) as [Extract<Said, { kind: 'up' }>];
  const c = new Child(up.id, running);
  await Promise.all([until(a, c, 'alive'), until(b, c, 'alive')]);
  await a.rpc.call(c.id, 'echo', null, { timeoutMs: 10_000 });
  const states: MemberView['state'][] = [];
  for (const ring of [a, b]) {
    ring.onChange((change) => {
      if (change.kind === 'member' && change.member.id === c.id) states.push(change.member.state);
    });
  }
  return { a, b, c, states };
}

async function until(
  ring: Ring,
  { id }: { id: string },
  state: MemberView['state'],
): Promise<void> {
  const isSo = (): boolean => ring.members().some((each) => each.id === id && each.state === state);
  await new Promise<void>((done) => {
    const stop = ring.onChange(() => {
      if (!isSo()) return;
      stop();
      done();
    });
    if (isSo()) {
      stop();
      done();
    }
  });
}

test('blocked for 3 s, a node is not dead and accuses nobody', { timeout: 60_000 }, async (t) => {
  const { a, c, states } = await lattice(t);
  c.said.length = 0;
  await c.does({ kind: 'block', ms: 3_000 });
  await a.rpc.call(c.id, 'echo', null, { timeoutMs: 10_000 });
  t.notOk(states.includes('dead'), 'the others');
  t.strictSame(
    c.heard.filter((line) => !line.endsWith(' alive')),
    [],
  );
  t.equal(await c.end(), 0);
});

test(
  'blocked for long, a node is taken for dead, and comes back',
  { timeout: 60_000 },
  async (t) => {
    const { a, b, c } = await lattice(t);
    c.said.length = 0;
    const end = join(t.testdirName, 'end');
    const over = c.does({ kind: 'block-until', path: end });
    await Promise.all([until(a, c, 'dead'), until(b, c, 'dead')]);
    writeFileSync(end, '');
    await over;
    await Promise.all([until(a, c, 'alive'), until(b, c, 'alive')]);
    await a.rpc.call(c.id, 'echo', null, { timeoutMs: 10_000 });
    t.ok(
      c.said.some(({ kind }) => kind === 'slept'),
      'it knows that it was gone',
    );
    t.notOk(
      c.heard.some((line) => line.endsWith(' dead')),
      'and accuses nobody',
    );
    t.equal(await c.end(), 0);
  },
);

test(
  'neither work nor a flood of 1 MiB bodies makes a node look dead',
  { timeout: 120_000 },
  async (t) => {
    const { a, b, c, states } = await lattice(t);
    const body = new Uint8Array(1 << 20).fill(7);
    await Promise.all(
      [a, b].map((from) => from.rpc.call(c.id, 'echo', body, { timeoutMs: 10_000 })),
    );
    const over = new AbortController();
    const flood = async (from: Ring): Promise<void> => {
      while (!over.signal.aborted) await from.rpc.call(c.id, 'echo', body, { timeoutMs: 60_000 });
    };
    const floods = [a, b].flatMap((from) => [flood(from), flood(from)]);
    await c.does({ kind: 'work', ms: 1_500, times: 5 });
    over.abort();
    await Promise.all(floods);
    t.notOk(states.includes('dead'));
    t.equal(await c.end(), 0);
  },
);
