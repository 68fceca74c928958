/** Server-sent events: what happens on a node, one event a line of JSON. */
import type { LogLine } from '../../particle/index.ts';
import type { LatticeNode } from './node.ts';
import type { Answer, Call } from './router.ts';

/** Keeps proxies and readers from taking a quiet stream for a dead one. */
const PING_INTERVAL_MS = 15_000;
/** A reader that leaves more than this unread is let go. */
const UNREAD_BYTES_MAX = 4 * 1024 * 1024;

/** Membership, epoch and flow events of this node, from now on. */
export function streamEvents(node: LatticeNode, call: Call): Answer {
  const stream = open(call);
  stream.until(
    node.ring.onChange((event) => stream.send(event.kind, event)),
    node.lifecycle.datapath.onFlow((flow) => stream.send('flow', flow)),
    node.onDeploy((event) => stream.send('deploy', event)),
  );
  return undefined;
}

/** Log lines of Particles on every node; with `follow=1` the stream stays open for what this node adds. */
export async function streamLogs(node: LatticeNode, call: Call): Promise<Answer> {
  const [app, particle] = [call.query.get('app'), call.query.get('particle')];
  const wanted = (line: LogLine): boolean =>
    (app === null || line.app === app) && (particle === null || line.particle === particle);
  const lines = await node.lifecycle.logs({
    ...(app === null ? {} : { app }),
    ...(particle === null ? {} : { particle }),
  });
  if (call.query.get('follow') !== '1') return { status: 200, json: { lines } };
  const stream = open(call);
  for (const line of lines) stream.send('log', line);
  stream.until(
    node.lifecycle.host.onLog((line) => {
      if (wanted(line)) stream.send('log', { ...line, nodeName: node.ring.name });
    }),
  );
  return undefined;
}

interface EventStream {
  send(event: string, data: object): void;
  /** Ends subscriptions when the reader goes away. */
  until(...subscriptions: (() => void)[]): void;
}

function open({ res }: Call): EventStream {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  res.flushHeaders();
  let id = 0;
  const ping = setInterval(() => res.write(': ping\n\n'), PING_INTERVAL_MS);
  const ended: (() => void)[] = [() => clearInterval(ping)];
  res.on('close', () => {
    for (const end of ended) end();
  });
  return {
    send: (event, data) => {
      res.write(`id: ${++id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
      if (res.writableLength > UNREAD_BYTES_MAX) res.destroy();
    },
    until: (...subscriptions) => ended.push(...subscriptions),
  };
}
