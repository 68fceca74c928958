/** `aether ps`, `aether invoke` and `aether logs`: what runs, calling it, and what it says. */
import type { LogLine } from '../../particle/index.ts';
import type { Context } from '../context.ts';
import { segment } from '../io/control-client.ts';
import { table } from '../io/table.ts';
import { usageError } from '../usage.ts';

interface Instance {
  app: string;
  particle: string;
  version: string;
  nodeName: string;
  state: string;
  why?: string;
  requests: number;
}

export async function listParticles({ client, out }: Context): Promise<void> {
  const answer = await client.json<{ particles: Instance[] }>('/particles');
  out.result(answer, () =>
    table(
      [
        { title: 'APP', cell: ({ app }) => app },
        { title: 'PARTICLE', cell: ({ particle }) => particle },
        { title: 'VERSION', cell: ({ version }) => version },
        { title: 'NODE', cell: ({ nodeName }) => nodeName },
        {
          title: 'STATE',
          cell: ({ state }) => (state === 'failed' ? out.paint.red : out.paint.green)(state),
        },
        { title: 'REQUESTS', cell: ({ requests }) => String(requests), align: 'right' },
        { title: 'WHY', cell: ({ why }) => why ?? '' },
      ],
      answer.particles,
      out.paint.dim,
    ),
  );
}

/** Each argument is JSON where it parses as such, else text. */
export async function invokeParticle(
  { client, out }: Context,
  target: string,
  name: string,
  args: readonly string[],
): Promise<void> {
  const { app, particle } = particleOf(target);
  if (particle === undefined) throw usageError(`which Particle of ${app}?`, 'write APP/PARTICLE');
  const started = performance.now();
  const { body, headers } = await client.call(
    `/particles/${segment(app)}/${segment(particle)}/invoke`,
    { method: 'POST', json: { export: name, args: args.map(argument) } },
  );
  const tookMs = (performance.now() - started).toFixed(1);
  const answer = JSON.parse(Buffer.from(body).toString('utf8')) as { result?: unknown };
  out.result(answer, () => JSON.stringify(answer.result ?? null, undefined, 2));
  const facts = [headers['aether-node'], `${tookMs} ms`, headers['aether-invocation']];
  out.say(out.paintTalk.dim(facts.filter(Boolean).join(' · ')));
}

export async function showLogs(
  { client, out, interrupted }: Context,
  target: string | undefined,
  options: { follow?: boolean },
): Promise<void> {
  const { app, particle } = target === undefined ? {} : particleOf(target);
  const show = (line: NodeLine): void => out.result(line, () => logText(line, out.paint));
  if (options.follow !== true) {
    const { lines } = await client.json<{ lines: NodeLine[] }>('/logs', {
      query: { app, particle },
    });
    for (const line of lines) show(line);
    return;
  }
  out.say(out.paintTalk.dim('what this node adds follows; --api names another one'));
  const query = { app, particle, follow: 1 };
  for await (const { data } of client.events('/logs', { query, signal: interrupted })) {
    show(JSON.parse(data) as NodeLine);
  }
}

type NodeLine = LogLine & { nodeName: string };

function logText(log: NodeLine, paint: Context['out']['paint']): string {
  const at = new Date(log.atMs).toISOString();
  const text = log.stream === 'stdout' ? log.line : paint.yellow(log.line);
  return `${paint.dim(at)} ${log.nodeName} ${paint.cyan(`${log.app}/${log.particle}`)}  ${text}`;
}

function particleOf(target: string): { app: string; particle?: string } {
  const [app = '', particle, ...rest] = target.split('/');
  if (app === '' || particle === '' || rest.length > 0) {
    throw usageError(`not a Particle: ${target}`, 'write APP/PARTICLE');
  }
  return { app, ...(particle === undefined ? {} : { particle }) };
}

function argument(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
