import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type Test, test } from 'tap';
import { type Room, readBody } from './read-body.ts';

const LIMIT_BYTES = 64 * 1024;

/** Answers with the length of the body, or 413 with what there was too little of. @returns the port */
async function serve(t: Test, room?: Room, failed?: (error: unknown) => void): Promise<number> {
  const server = createServer((req, res) => {
    const answer = async (): Promise<void> => {
      const body = await readBody(req, LIMIT_BYTES, room);
      res.statusCode = typeof body === 'string' ? 413 : 200;
      res.end(typeof body === 'string' ? body : String(body.length));
    };
    answer().catch((error: unknown) => failed?.(error));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function post(port: number, bytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = request({ port, method: 'POST' }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      res.on('end', () => resolve(`${res.statusCode} ${text}`));
    });
    req.on('error', reject);
    req.end(new Uint8Array(bytes));
  });
}

test('a body arrives whole, up to the limit', async (t) => {
  const port = await serve(t);
  t.equal(await post(port, 0), '200 0');
  t.equal(await post(port, LIMIT_BYTES), '200 65536');
});

test('who sends far too much hears so, and the connection stays of use', async (t) => {
  const port = await serve(t);
  t.equal(await post(port, 64 * 2 ** 20), '413 limit');

  const socket = connect(port, '127.0.0.1');
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LIMIT_BYTES + 1}\r\n\r\n`);
  socket.write(new Uint8Array(LIMIT_BYTES + 1));
  socket.end('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx');
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  t.match(text, /^HTTP\/1\.1 413 [\s\S]*limit[\s\S]*HTTP\/1\.1 200 [\s\S]*1/);
});

test('an endless body is cut off', async (t) => {
  const port = await serve(t);
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
  const chunk = `${(4096).toString(16)}\r\n${'x'.repeat(4096)}\r\n`;
  const pour = (): void => {
    while (socket.writable && socket.write(chunk));
  };
  socket.on('drain', pour).resume();
  pour();
  await new Promise((resolve) => {
    socket.on('close', resolve);
  });
  t.pass('the connection ended');
});

test('what is held is taken from the room and given back', async (t) => {
  const room = { bytes: 1_000 };
  const gone = Promise.withResolvers<unknown>();
  const port = await serve(t, room, gone.resolve);
  t.equal(await post(port, 1_001), '413 room');
  t.equal(room.bytes, 1_000);
  t.equal(await post(port, 600), '200 600');
  t.equal(room.bytes, 400, 'whoever has the body gives it back');

  const socket = connect(port, '127.0.0.1');
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\nabc');
  while (room.bytes === 400) await new Promise(setImmediate);
  socket.destroy();
  t.match(await gone.promise, { code: 'ERR_CLIENT_GONE' });
  t.equal(room.bytes, 400);
});
