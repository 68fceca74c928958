/**
 * A lattice on hosts of its own that falls into two parts and is healed. The first process of its namespaces (test/hosts.ts).
 *
 * As a program: LAYOUT, as JSON; it prints the figures.
 */
import { join } from 'node:path';
import { mintJoinToken } from '../../ring/index.ts';
import { HostNode, untilSeen } from '../../test/host-node.ts';
import { Network } from '../../test/hosts.ts';

const JOIN_AT_ONCE = 6;

export interface Layout {
  /** Members on either side of the cut. */
  readonly sides: readonly [number, number];
}

export interface Healed {
  /** From the end of the cut until all see all. */
  readonly ms: number;
  /** Different epochs that are used then. */
  readonly epochs: number;
}

async function heal({ sides }: Layout): Promise<Healed> {
  const network = new Network();
  const total = sides[0] + sides[1];
  const hosts = Array.from({ length: total }, (_, i) => network.host(`n${i}`));
  const [first, ...others] = hosts as [(typeof hosts)[0], ...typeof hosts];
  const founder = await HostNode.start(first, { data: join(network.folder, first.name) });
  const token = mintJoinToken(founder.data, { uses: others.length, roles: ['compute'] });
  const nodes = [founder];
  // How they join is not what is measured.
  for (let at = 0; at < others.length; at += JOIN_AT_ONCE) {
    const joined = others.slice(at, at + JOIN_AT_ONCE).map((host) => {
      const data = join(network.folder, host.name);
      return HostNode.start(host, { data, join: [founder.address], token });
    });
    nodes.push(...(await Promise.all(joined)));
  }
  await untilSeen(nodes, nodes, 'alive');
  const parts = [nodes.slice(0, sides[0]), nodes.slice(sides[0])] as const;
  network.cut(hosts.slice(0, sides[0]), hosts.slice(sides[0]));
  await Promise.all([untilSeen(...parts, 'dead'), untilSeen(parts[1], parts[0], 'dead')]);
  network.heal();
  const healedMs = performance.now();
  await untilSeen(nodes, nodes, 'alive');
  const ms = performance.now() - healedMs;
  const seen = await Promise.all(nodes.map((node) => node.see()));
  return { ms, epochs: new Set(seen.map(({ epoch }) => epoch)).size };
}

if (import.meta.main) {
  const healed = await heal(JSON.parse(process.argv[2] ?? '') as Layout);
  process.stdout.write(JSON.stringify(healed));
  process.exit();
}
