/** Counts in the bucket "tallies": the sample application of Aether. */
import { type Bucket, open } from 'wasi:keyvalue/store@0.2.0-draft';

const KEY = 'hits';
const HELP = 'GET /hit counts, GET /count reads\n';

function read(bucket: Bucket): number {
  const value = bucket.get(KEY);
  return value === undefined ? 0 : Number(new TextDecoder().decode(value));
}

function hit(bucket: Bucket): number {
  const count = read(bucket) + 1;
  bucket.set(KEY, new TextEncoder().encode(String(count)));
  return count;
}

function answer(request: Request): Response {
  switch (new URL(request.url).pathname) {
    case '/':
      return new Response(HELP, { headers: { 'content-type': 'text/plain' } });
    case '/hit':
      return json({ count: hit(open('tallies')) });
    case '/count':
      return json({ count: read(open('tallies')) });
    default:
      return new Response('not found\n', { status: 404 });
  }
}

function json(body: object): Response {
  return new Response(`${JSON.stringify(body)}\n`, {
    headers: { 'content-type': 'application/json' },
  });
}

addEventListener('fetch', (event) => event.respondWith(answer(event.request)));
