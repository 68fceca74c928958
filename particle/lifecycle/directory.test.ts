import { test } from 'tap';
import type { AppRecord } from './catalog.ts';
import { Directory } from './directory.ts';

function record(
  name: string,
  generation: number,
  routes: { host?: string; path?: string; methods?: string[] }[],
): AppRecord {
  return {
    app: {
      name,
      particles: {
        web: {
          name: 'web',
          routes: routes.map(({ host = '*', path = '/', methods = [] }) => ({
            host,
            path,
            methods,
            strip: false,
          })),
        },
      },
    },
    generation,
    claimant: 'na',
    workflow: `deploy:${name}:${generation}`,
  } as unknown as AppRecord;
}

test('a lower revision never replaces a higher one (V2)', (t) => {
  const activated: number[] = [];
  const directory = new Directory(({ generation }) => activated.push(generation));
  for (const generation of [2, 1, 2, 3]) directory.offer(record('shop', generation, []));
  t.same(activated, [2, 3]);
  t.equal(directory.record('shop')?.generation, 3);
  t.ok(directory.isBehind('shop', { generation: 4, claimant: 'na' }));
  t.notOk(directory.isBehind('shop', { generation: 3, claimant: 'na' }));
  t.ok(directory.isBehind('unknown', { generation: 1, claimant: 'na' }));
  t.end();
});

test('the most specific route wins', (t) => {
  const directory = new Directory(() => {});
  directory.offer(record('any', 1, [{}]));
  directory.offer(record('wild', 1, [{ host: '*.example.org' }]));
  directory.offer(record('exact', 1, [{ host: 'a.example.org' }, { host: 'port.org:81' }]));
  directory.offer(record('deep', 1, [{ path: '/api' }, { path: '/post', methods: ['POST'] }]));
  const to = (authority: string, path: string, method = 'GET'): string | undefined =>
    directory.route(method, authority, path)?.app;
  t.equal(to('a.example.org', '/'), 'exact');
  t.equal(to('A.Example.org:8080', '/'), 'exact', 'case and port of the client do not count');
  t.equal(to('b.example.org', '/api'), 'wild', 'host before path');
  t.equal(to('example.org', '/'), 'any', 'a wildcard is not the bare domain');
  t.equal(to('localhost', '/api'), 'deep');
  t.equal(to('localhost', '/api/x?q'), 'deep');
  t.equal(to('localhost', '/apix'), 'any');
  t.equal(to('localhost', '/post'), 'any');
  t.equal(to('localhost', '/post', 'POST'), 'deep');
  t.equal(to('port.org:81', '/'), 'exact');
  t.equal(to('port.org:82', '/'), 'any');
  t.equal(new Directory(() => {}).route('GET', 'localhost', '/'), undefined);
  for (const order of [
    ['b', 'a'],
    ['a', 'b'],
  ]) {
    const both = new Directory(() => {});
    for (const name of order) both.offer(record(name, 1, [{}]));
    t.equal(both.route('GET', 'localhost', '/')?.app, 'a', 'between equals the name decides');
  }
  t.end();
});
