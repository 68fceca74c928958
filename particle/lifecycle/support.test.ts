import { test } from 'tap';
import { readAetherfile } from '../../spec/aetherfile/index.ts';
import { checkSupported } from './support.ts';

function aetherfile(app: string, particle = ''): string {
  return `package aether
app: #App & {
  aether: "v1alpha1"
  name: "shop"
  ${app}
  particles: web: {
    source: path: "web.wasm"
    ${particle}
  }
}`;
}

test('what this release carries out passes', (t) => {
  checkSupported(
    readAetherfile(
      aetherfile('kv: carts: {}', 'grants: [{kind: "kv", bucket: "carts", ops: ["get", "set"]}]'),
      'Aetherfile',
    ),
  );
  t.pass();
  t.end();
});

test('what it does not is refused by name, all of it at once', (t) => {
  const source = aetherfile(
    'kv: carts: {ttl: "1d"}, blob: files: {}',
    'health: path: "/up", schedules: [{cron: "* * * * *", call: "run"}]',
  );
  t.throws(() => checkSupported(readAetherfile(source, 'Aetherfile')), {
    code: 'ERR_NOT_AVAILABLE',
    message: /schedules \(web\); health \(web\); blob containers; kv\.carts\.ttl/,
  });
  t.end();
});
