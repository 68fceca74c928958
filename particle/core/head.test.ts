import { test } from 'tap';
import { get } from '../fixtures/fixture.ts';
import { checkedRequest, checkedResponse } from './head.ts';

test('headers about the connection do not pass', (t) => {
  const request = checkedRequest({
    ...get('/'),
    headers: [
      ['Accept', '*/*'],
      ['Connection', 'close'],
      ['Transfer-Encoding', 'chunked'],
    ],
  });
  t.same(request.headers, [['accept', '*/*']]);
  t.end();
});

test('what could split or smuggle a message is refused', (t) => {
  const refused = { code: 'ERR_PARTICLE_HTTP' };
  t.throws(() => checkedRequest({ ...get('/'), method: 'GET /x' }), refused);
  t.throws(() => checkedRequest(get('http://elsewhere/')), refused);
  t.throws(() => checkedRequest(get('/a\r\nb: c')), refused);
  t.throws(() => checkedRequest({ ...get('/'), authority: 'a b' }), refused);
  t.throws(() => checkedRequest({ ...get('/'), headers: [['a b', 'c']] }), refused);
  t.throws(
    () =>
      checkedRequest({
        ...get('/'),
        headers: Array.from({ length: 129 }, () => ['a', 'b'] as [string, string]),
      }),
    refused,
  );
  const answer = { status: 200, headers: [], body: new Uint8Array() };
  t.throws(() => checkedResponse({ ...answer, status: 99 }), refused);
  t.throws(() => checkedResponse({ ...answer, headers: [['set-cookie', 'a\nb']] }), refused);
  t.end();
});
