import { test } from 'tap';
import { AetherError, errorBody, NotAvailableError } from './error.ts';

class LockedError extends AetherError {
  static override readonly code = 'ERR_DATA_LOCKED';
}

test('an error has the code of its class, unless one is given', (t) => {
  t.equal(new AetherError('why').code, 'ERR_AETHER');
  t.equal(new LockedError('why').code, 'ERR_DATA_LOCKED');
  t.equal(new NotAvailableError('why').code, 'ERR_NOT_AVAILABLE');
  t.equal(new LockedError('why', { code: 'ERR_OTHER' }).code, 'ERR_OTHER');
  t.equal(new LockedError('why').name, 'LockedError');
  t.end();
});

test('hint, details and cause are there only when they are given', (t) => {
  const bare = new AetherError('why');
  for (const key of ['hint', 'details', 'cause']) t.notOk(Object.hasOwn(bare, key), key);
  const cause = new Error('below');
  const full = new AetherError('why', { hint: 'do this', details: { port: 1 }, cause });
  t.equal(full.hint, 'do this');
  t.same(full.details, { port: 1 });
  t.equal(full.cause, cause);
  t.end();
});

test('an Aether error is known by its brand, not by its class', (t) => {
  const fromAnotherCopy = { [Symbol.for('aether.error')]: true, code: 'ERR_X', message: 'why' };
  t.ok(AetherError.is(new LockedError('why')));
  t.ok(AetherError.is(fromAnotherCopy));
  for (const other of [new Error('why'), null, undefined, 'ERR_X', { code: 'ERR_X' }]) {
    t.notOk(AetherError.is(other));
  }
  t.notOk(Object.keys(new AetherError('why')).includes('aether.error'), 'the brand is not printed');
  t.end();
});

test('any thrown value has a body', (t) => {
  t.same(errorBody(new LockedError('why', { hint: 'do this', details: [1] })), {
    code: 'ERR_DATA_LOCKED',
    message: 'why',
    hint: 'do this',
    details: [1],
  });
  t.same(errorBody(new LockedError('why')), { code: 'ERR_DATA_LOCKED', message: 'why' });
  t.same(errorBody(new TypeError('why')), { code: 'ERR_INTERNAL', message: 'why' });
  t.same(errorBody('why'), { code: 'ERR_INTERNAL', message: 'why' });
  t.end();
});
