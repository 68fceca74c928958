/** A node that leaves, killed in the middle and started again: it ends as no member, and says so. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import type { LatticeNode } from '../cli/daemon/node.ts';
import { EXIT } from '../cli/io/exit-code.ts';
import { mintJoinToken } from '../ring/index.ts';
import { deployTiny, folder, node } from './nodes.ts';

const MAIN = fileURLToPath(new URL('../cli/main.ts', import.meta.url));
const OUT = /ERR_RING_REMOVED: this node is no member of its lattice any more/;
const LEFT = /this node has left the lattice/;

/** Two nodes of a lattice in this process, and a third in one of its own, which is the one that leaves. */
class Household {
  readonly #t: Test;
  readonly #data: string;
  readonly #token: string;
  readonly stayer: LatticeNode;

  static async open(t: Test): Promise<Household> {
    const place = folder(t);
    const founder = join(place, 'n1');
    const stayer = await node(t, { data: founder, name: 'n1' });
    const token = mintJoinToken(founder, { uses: 2 });
    await node(t, { name: 'n2', join: [stayer.address], token });
    return new Household(t, join(place, 'leaver'), stayer, token);
  }

  private constructor(t: Test, data: string, stayer: LatticeNode, token: string) {
    this.#t = t;
    this.#data = data;
    this.stayer = stayer;
    this.#token = token;
  }

  /** Starts the leaver. @param failpoint where it ends itself, as cli/daemon/failpoint.ts says */
  start(failpoint = 'after-effect:99'): { child: ChildProcess; ended: Promise<Ended> } {
    const args = ['up', `--data=${this.#data}`, '--name=leaver', `--join=${this.stayer.address}`];
    const child = spawn(process.execPath, [MAIN, ...args, '--token=-'], {
      env: { ...process.env, AETHER_FAILPOINT: failpoint },
    });
    this.#t.teardown(() => child.kill('SIGKILL'));
    child.stdin.end(this.#token);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stderr }));
    return { child, ended };
  }

  /** As `start`, once it serves. */
  async serving(failpoint?: string): Promise<ReturnType<typeof this.start>> {
    const started = this.start(failpoint);
    await once(started.child.stdout as NodeJS.ReadableStream, 'data');
    return started;
  }

  /** Types `aether node leave` at the leaver. */
  leave(): Promise<{ code: number; stdout: string; stderr: string }> {
    const env = { ...process.env, NO_COLOR: '1', AETHER_API: join(this.#data, 'api.sock') };
    return new Promise((done) => {
      execFile(process.execPath, [MAIN, 'node', 'leave'], { env }, (error, stdout, stderr) =>
        done({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  }

  get isOut(): boolean {
    return !this.stayer.ring.members().some(({ name }) => name === 'leaver');
  }

  async until(holds: () => boolean): Promise<void> {
    await new Promise<void>((done) => {
      const look = (): void => {
        if (holds()) done();
      };
      this.#t.teardown(this.stayer.ring.onChange(look));
      look();
    });
  }
}

interface Ended {
  code: number | null;
  signal: string | null;
  stderr: string;
}

test('a node leaves step by step, and ends', { timeout: 120_000 }, async (t) => {
  const house = await Household.open(t);
  const { ended } = await house.serving();
  await deployTiny(house.stayer, '1.0.0');
  const left = await house.leave();
  t.equal(left.code, EXIT.ok, left.stderr);
  t.match(left.stdout, /^left the lattice in [\d.]+ s; the node ends, and its data folder/);
  t.match(left.stderr, /^submitted: leave:n[a-z2-7]{52}\n✓ 1 plan\n(?:.*\n)*.* leaver leaves\n$/);
  t.match(await ended, { code: 0, stderr: LEFT });
  t.ok(house.isOut);
});

test(
  'killed before it has asked for it, a node is a member still, and goes on when it is back',
  { timeout: 120_000 },
  async (t) => {
    const house = await Household.open(t);
    const { ended } = await house.serving('after-commit:0');
    const left = await house.leave();
    t.match(left, { code: EXIT.unreachable, stderr: /the node ended before .*\nhint: start it/ });
    t.match(await ended, { signal: 'SIGKILL' });
    t.notOk(house.isOut);
    t.match(await house.start().ended, {
      code: 0,
      stderr: /^this node goes on to leave the lattice\n(?:.*\n)*this node has left the lattice/,
    });
    t.ok(house.isOut);
  },
);

test(
  'killed while the others take over, a node is out when it is back',
  { timeout: 120_000 },
  async (t) => {
    const house = await Household.open(t);
    const { child, ended } = await house.serving();
    const { ring } = house.stayer;
    void house
      .until(() => (ring.pending()?.leaving.length ?? 0) > 0)
      .then(() => child.kill('SIGKILL'));
    await house.leave();
    await ended;
    const again = await house.start().ended;
    // It may have come back before its lattice could tell it.
    t.match(again.stderr, again.code === 0 ? LEFT : OUT);
    await house.until(() => house.isOut && ring.pending() === undefined);
    t.equal(ring.epoch().voters.length, 2);
  },
);

test('killed before it has recorded its end, a node is told', { timeout: 120_000 }, async (t) => {
  const house = await Household.open(t);
  const { ended } = await house.serving('after-effect:1');
  t.match(await house.leave(), { code: EXIT.unreachable });
  t.match(await ended, { signal: 'SIGKILL' });
  t.ok(house.isOut);
  t.match(await house.start().ended, { code: EXIT.failed, stderr: OUT });
});
