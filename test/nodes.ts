/** Nodes of a lattice inside the test's own process, in folders that go with the test. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type LatticeNode, type NodeOptions, startNode } from '../cli/daemon/node.ts';
import { postBundle } from '../cli/io/bundle.ts';
import { ControlClient, segment } from '../cli/io/control-client.ts';
import { mintJoinToken } from '../ring/index.ts';

/** The counter as a component of a few kilobytes. */
export const TINY: Uint8Array = readFileSync(new URL('../samples/tiny/tiny.wasm', import.meta.url));

/** An app whose one Particle is the tiny counter. */
export function tinyApp(version: string, particle = ''): string {
  return `package aether

app: #App & {
	aether:  "v1alpha1"
	name:    "tiny"
	version: "${version}"
	kv: tallies: {}
	particles: web: {
		source: path: "tiny.wasm"
		grants: [{kind: "kv", bucket: "tallies", ops: ["get", "set"]}]
		routes: [{path: "/"}]
		${particle}
	}
}
`;
}

export function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'aether-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Starts a node that is closed with the test. */
export async function node(t: Test, options: Partial<NodeOptions> = {}): Promise<LatticeNode> {
  const started = await startNode({
    data: options.data ?? join(folder(t), 'node'),
    ingress: '127.0.0.1:0',
    ...options,
  });
  t.teardown(() => started.close());
  return started;
}

/** Starts a lattice of three. */
export async function lattice(t: Test): Promise<[LatticeNode, LatticeNode, LatticeNode]> {
  const data = join(folder(t), 'n1');
  const first = await node(t, { data, name: 'n1', zone: 'z1' });
  const join3 = async (name: string, zone: string): Promise<LatticeNode> =>
    node(t, {
      name,
      zone,
      join: [first.address],
      token: mintJoinToken(data, { uses: 1, expiresMs: 60_000 }),
    });
  const others = await Promise.all([join3('n2', 'z2'), join3('n3', 'z3')]);
  return [first, ...others];
}

export function client(of: LatticeNode): ControlClient {
  return new ControlClient(of.addresses.api);
}

/** Deploys the tiny app through a node and waits for the end. @returns the run as the API shows it */
export async function deployTiny(
  through: LatticeNode,
  version: string,
  component: Uint8Array = TINY,
): Promise<{ id: string; status: string; result?: unknown; error?: { code: string } }> {
  const bundle = { source: tinyApp(version), file: 'Aetherfile', components: { web: component } };
  const { workflow } = await postBundle(client(through), bundle);
  return client(through).json(`/workflows/${segment(workflow)}`, { query: { wait: '30s' } });
}

/** A request to a node's ingress. */
export async function ask(
  of: LatticeNode,
  path: string,
): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://${of.addresses.ingress}${path}`);
  return { status: response.status, text: (await response.text()).trim() };
}
