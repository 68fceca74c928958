import { test } from 'tap';
import { socketPath } from './socket-path.ts';

test('a socket whose path is too long is named from the working folder', (t) => {
  const deep = `/${'d'.repeat(100)}`;
  t.equal(socketPath('/short/api.sock', '/'), '/short/api.sock');
  t.equal(socketPath(`${deep}/data/api.sock`, deep), 'data/api.sock');
  t.throws(() => socketPath(`${deep}/data/api.sock`, '/elsewhere'), {
    code: 'ERR_ADDRESS',
    hint: /--api/,
  });
  t.end();
});
