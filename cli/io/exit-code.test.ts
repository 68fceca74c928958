import { test } from 'tap';
import { AetherError } from '../../spec/error.ts';
import { ApiError } from './control-client.ts';
import { EXIT, exitCodeOf } from './exit-code.ts';

const coded = (code: string): AetherError => new AetherError('why', { code });

test('the exit code follows from the error code', (t) => {
  const expected: Record<string, number> = {
    ERR_USAGE: EXIT.usage,
    ERR_CUE_SYNTAX: EXIT.invalidConfig,
    ERR_AETHERFILE_INVALID: EXIT.invalidConfig,
    ERR_WORKFLOWS_MODULE: EXIT.invalidConfig,
    ERR_PARTICLE_UNGRANTED_IMPORT: EXIT.invalidConfig,
    ERR_DATAPATH_DENIED: EXIT.denied,
    ERR_RING_TOKEN_EXPIRED: EXIT.denied,
    ERR_ENGINE_NOT_FOUND: EXIT.notFound,
    ERR_HISTORY_NOT_FOUND: EXIT.notFound,
    ERR_KV_CONFLICT: EXIT.conflict,
    ERR_DATA_LOCKED: EXIT.conflict,
    ERR_LATTICE_MISMATCH: EXIT.conflict,
    ERR_PORT_IN_USE: EXIT.conflict,
    ERR_API_UNREACHABLE: EXIT.unreachable,
    ERR_KV_UNAVAILABLE: EXIT.unreachable,
    ERR_INTERRUPTED: EXIT.interrupted,
    ERR_NOT_AVAILABLE: EXIT.failed,
    ERR_ENGINE_WORKFLOW_FAILED: EXIT.failed,
  };
  const found = Object.fromEntries(
    Object.keys(expected).map((code) => [code, exitCodeOf(coded(code))]),
  );
  t.same(found, expected);
  t.end();
});

test('where the code does not say, the HTTP status does', (t) => {
  const answered = (status: number): number =>
    exitCodeOf(new ApiError({ code: 'ERR_API', message: 'why' }, status));
  t.same([401, 404, 412, 503, 500].map(answered), [
    EXIT.denied,
    EXIT.notFound,
    EXIT.conflict,
    EXIT.unreachable,
    EXIT.failed,
  ]);
  t.end();
});

test('a foreign error is a failure', (t) => {
  t.equal(exitCodeOf(new Error('boom')), EXIT.failed);
  t.equal(exitCodeOf('boom'), EXIT.failed);
  t.end();
});
