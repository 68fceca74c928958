import { test } from 'tap';
import { AetherError } from '../../spec/error.ts';
import { Output } from './output.ts';

function fakeStream(isTTY: boolean): {
  write(chunk: string | Uint8Array): void;
  isTTY: boolean;
  text: string;
} {
  return {
    isTTY,
    text: '',
    write(chunk) {
      this.text += String(chunk);
    },
  };
}

interface Setting {
  json?: boolean;
  isTTY?: boolean;
  env?: Record<string, string>;
}

function output({ json = false, isTTY = false, env = {} }: Setting = {}): {
  out: Output;
  stdout: { text: string };
  stderr: { text: string };
} {
  const [stdout, stderr] = [fakeStream(isTTY), fakeStream(isTTY)];
  return { out: new Output({ stdout, stderr, json, env }), stdout, stderr };
}

const refusal = new AetherError('no such key', {
  code: 'ERR_KV_KEY_NOT_FOUND',
  hint: 'put it first',
});

test('data goes to stdout, talk to stderr', (t) => {
  const { out, stdout, stderr } = output();
  out.result({ a: 1 }, () => 'one');
  out.say('working');
  t.equal(stdout.text, 'one\n');
  t.equal(stderr.text, 'working\n');
  t.end();
});

test('with --json the result is one JSON document and the text is not made', (t) => {
  const { out, stdout } = output({ json: true });
  out.result({ a: 1 }, () => {
    throw new Error('made');
  });
  t.same(JSON.parse(stdout.text), { a: 1 });
  t.end();
});

test('an error names its code and its hint on stderr', (t) => {
  const { out, stdout, stderr } = output();
  out.error(refusal);
  t.equal(stderr.text, 'error ERR_KV_KEY_NOT_FOUND: no such key\nhint: put it first\n');
  t.equal(stdout.text, '');
  t.end();
});

test('with --json an error is on stdout', (t) => {
  const { out, stdout, stderr } = output({ json: true });
  out.error(refusal);
  t.same(JSON.parse(stdout.text), {
    error: { code: 'ERR_KV_KEY_NOT_FOUND', message: 'no such key', hint: 'put it first' },
  });
  t.equal(stderr.text, '');
  t.end();
});

test('an error that nobody foresaw has a code too, and shows where it was on demand', (t) => {
  const error = new TypeError('x is not a function');
  const plain = output();
  plain.out.error(error);
  t.match(
    plain.stderr.text,
    /^error ERR_INTERNAL: x is not a function\nhint: .*AETHER_DEBUG=1.*\n$/,
  );
  const debug = output({ env: { AETHER_DEBUG: '1' } });
  debug.out.error(error);
  t.match(debug.stderr.text, /output\.test\.ts/);
  t.end();
});

test('colours only on a terminal, and as NO_COLOR and FORCE_COLOR say', (t) => {
  const coloured = ({ out }: { out: Output }): boolean => out.paint.red('x') !== 'x';
  t.equal(coloured(output({ isTTY: true })), true);
  t.equal(coloured(output({ isTTY: false })), false);
  t.equal(coloured(output({ isTTY: true, env: { TERM: 'dumb' } })), false);
  t.equal(coloured(output({ isTTY: true, env: { NO_COLOR: '1' } })), false);
  t.equal(coloured(output({ isTTY: false, env: { FORCE_COLOR: '1' } })), true);
  t.equal(coloured(output({ isTTY: true, env: { FORCE_COLOR: '0' } })), false);
  t.equal(coloured(output({ isTTY: true, json: true })), false);
  t.end();
});

test('an error about an Aetherfile shows each place, with its line and what to do', (t) => {
  const diagnostic = {
    code: 'ERR_AETHERFILE_UNKNOWN_FIELD',
    path: 'versoin',
    message: 'there is no such field',
    file: 'Aetherfile',
    line: 6,
    column: 2,
    excerpt: 'versoin: 1\n^^^^^^^',
    help: 'did you mean version?',
  };
  const error = new AetherError('refused', {
    code: 'ERR_AETHERFILE_INVALID',
    details: { diagnostics: [diagnostic, { ...diagnostic, line: 9 }] },
  });
  const { out, stderr } = output();
  out.error(error);
  t.match(stderr.text, /error\[ERR_AETHERFILE_UNKNOWN_FIELD\] versoin: there is no such field/);
  t.match(stderr.text, /Aetherfile:6:2 .*versoin: 1\n +\^{7}\n +help: did you mean version\?/);
  t.match(stderr.text, /Aetherfile:9:2/, 'all of them');
  const asJson = output({ json: true });
  asJson.out.error(error);
  t.match(JSON.parse(asJson.stdout.text), { error: { details: { diagnostics: [diagnostic] } } });
  t.end();
});
