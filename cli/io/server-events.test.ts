import { test } from 'tap';
import { type ServerEvent, serverEvents } from './server-events.ts';

const STREAM =
  ': ping\n\nid: 1\nevent: log\ndata: {"a":1}\n\ndata: two\ndata: lines\n\nretry: 5\n\nevent:é\r\ndata:x\r\n\r\ndata: unfinished';

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

test('events are the same however the stream is cut', async (t) => {
  const bytes = new TextEncoder().encode(STREAM);
  for (let size = 1; size <= bytes.length; size++) {
    const events: ServerEvent[] = [];
    for await (const event of serverEvents(pieces(bytes, size))) events.push(event);
    t.same(
      events,
      [
        { event: 'log', data: '{"a":1}', id: '1' },
        { event: 'message', data: 'two\nlines' },
        { event: 'é', data: 'x' },
      ],
      `in pieces of ${size}`,
    );
  }
});
