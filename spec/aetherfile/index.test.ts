import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { test } from 'tap';
import { AetherfileError, type Diagnostic, formatDiagnostics, readAetherfile } from './index.ts';

const EXAMPLE = readFileSync(new URL('example/Aetherfile', import.meta.url), 'utf8');

function diagnosticsOf(source: string): readonly Diagnostic[] {
  try {
    readAetherfile(source, 'Aetherfile');
  } catch (error) {
    if (error instanceof AetherfileError) return error.diagnostics;
    throw error;
  }
  return [];
}

/** An app with one particle, `web` on line 8, whose further lines begin on line 10. */
function particle(lines: string, app = ''): string {
  return `package aether

app: #App & {
	aether: "v1alpha1", name: "shop"
	kv: carts: {}
	blob: files: {}
	secrets: ["key"]
	particles: web: {
		source: path: "web.wasm"
${lines}
	}
	${app}
}
`;
}

test('the example: everything in it, and the defaults of the schema', (t) => {
  const app = readAetherfile(EXAMPLE, 'Aetherfile');
  t.same(Object.keys(app.particles), ['web-api', 'counter', 'nightly']);
  const { 'web-api': web, counter, nightly } = app.particles;
  t.equal(web?.name, 'web-api');
  t.same(web?.placement.regions, ['eu-west', 'us-east'], 'let');
  t.same(
    counter?.network.ingress.map(({ from }) => from),
    [[{ particle: 'web-api' }], [{ particle: 'nightly' }]],
  );
  t.same(web?.source, {
    build: { command: ['npm', 'run', 'build:web'], output: 'dist/web.wasm', watch: ['src'] },
  });
  t.same(web?.rollout, {
    strategy: 'canary',
    steps: [
      { weight: 5, hold: '2m' },
      { weight: 50, hold: '1m' },
      { weight: 100, hold: '1m' },
    ],
    abort: { errorRate: 0.05, p99: '400ms' },
  });
  t.same(nightly?.rollout, { strategy: 'rolling', surge: 1, abort: { errorRate: 0.05 } });
  t.same(nightly?.scale, {
    min: 0,
    max: 0,
    target: { metric: 'inflight', value: 32 },
    cooldown: '60s',
  });
  t.same(nightly?.limits, { memory: '256Mi', time: '5m', instances: 16, outbound: 32 });
  t.same(app.kv, { tallies: { replicas: 3, ttl: '30d', quota: '1Gi' } });
  t.same(app.blob, { reports: { quota: '10Gi' } });
  t.equal(nightly?.health, undefined);
  t.end();
});

/** Of lines of a particle, what comes out under a name. */
const FILLED: readonly [string, string, unknown][] = [
  ['', 'scale', { min: 1, max: 1, target: { metric: 'inflight', value: 32 }, cooldown: '60s' }],
  [
    'scale: min: 3',
    'scale',
    { min: 3, max: 3, target: { metric: 'inflight', value: 32 }, cooldown: '60s' },
  ],
  [
    'scale: target: value: 5',
    'scale',
    { min: 1, max: 1, target: { metric: 'inflight', value: 5 }, cooldown: '60s' },
  ],
  [
    'scale: target: metric: "inflight"',
    'scale',
    { min: 1, max: 1, target: { metric: 'inflight', value: 32 }, cooldown: '60s' },
  ],
  ['rollout: surge: 2', 'rollout', { strategy: 'rolling', surge: 2, abort: { errorRate: 0.05 } }],
  [
    'rollout: steps: [{weight: 100}]',
    'rollout',
    { strategy: 'canary', steps: [{ weight: 100, hold: '1m' }], abort: { errorRate: 0.05 } },
  ],
  [
    'grants: [{bucket: "carts"}]',
    'grants',
    [{ kind: 'kv', bucket: 'carts', keys: ['*'], ops: ['get'] }],
  ],
  [
    'grants: [#Kv & {bucket: "carts"}]',
    'grants',
    [{ kind: 'kv', bucket: 'carts', keys: ['*'], ops: ['get'] }],
  ],
  [
    'grants: [{kind: "kv", bucket: "carts", ops: []}]',
    'grants',
    [{ kind: 'kv', bucket: 'carts', keys: ['*'], ops: [] }],
  ],
  [
    'limits: memory: 64Mi',
    'limits',
    { memory: 67108864, time: '10s', instances: 16, outbound: 32 },
  ],
  [
    'placement: require: {disk: "ssd", cores: 4, gpu: true}',
    'placement',
    {
      regions: [],
      zones: [],
      require: { disk: 'ssd', cores: 4, gpu: true },
      avoid: [],
      spread: 'zone',
    },
  ],
  ['name: "web"', 'name', 'web'],
  ['labels: constructor: "x"', 'labels', { constructor: 'x' }],
];

test('defaults', (t) => {
  for (const [lines, name, expected] of FILLED) {
    const { web } = readAetherfile(particle(lines), 'Aetherfile').particles;
    t.same(web?.[name as 'scale'], expected, lines);
  }
  const { web } = readAetherfile(particle(''), 'Aetherfile').particles;
  t.equal(web?.env['constructor'], undefined, 'no prototype');
  t.end();
});

/** Planted in the example: what is replaced, by what, where in the new text the reader points, and the code. */
const MISTAKES: readonly [from: string, to: string, at: string, code: string][] = [
  ['"v1alpha1"', '"v1"', '"v1"', 'ERR_AETHERFILE_VALUE'],
  ['name:    "tally"', 'name:    "Tally"', '"Tally"', 'ERR_AETHERFILE_VALUE'],
  ['\tname:    "tally"\n', '', 'app:', 'ERR_AETHERFILE_MISSING_FIELD'],
  ['ttl: "30d"', 'ttl: "30 days"', '"30 days"', 'ERR_AETHERFILE_VALUE'],
  ['ttl: "30d"', 'tll: "30d"', 'tll', 'ERR_AETHERFILE_UNKNOWN_FIELD'],
  ['{ttl: "30d"}', '{replicas: 8}', '8}', 'ERR_AETHERFILE_VALUE'],
  ['{ttl: "30d"}', '{replicas: 0}', '0}', 'ERR_AETHERFILE_VALUE'],
  ['{ttl: "30d"}', '{replicas: 3.0}', '3.0', 'ERR_AETHERFILE_TYPE'],
  ['secrets: ["stripe-key"]', 'secrets: "stripe-key"', '"stripe-key"\n', 'ERR_AETHERFILE_TYPE'],
  ['"web-api": {', '"Web": {', '"Web"', 'ERR_AETHERFILE_VALUE'],
  ['source: path: "dist/nightly.wasm"', '', 'nightly: {', 'ERR_AETHERFILE_MISSING_FIELD'],
  [
    'source: path: "dist/nightly.wasm"',
    'source: {path: "x", oci: "a:1"}',
    '{path: "x"',
    'ERR_AETHERFILE_VALUE',
  ],
  ['tally/counter:1.2.0', 'tally/counter', '"registry.example', 'ERR_AETHERFILE_VALUE'],
  ['budget: "200ms"', 'budget: 200', '200}', 'ERR_AETHERFILE_TYPE'],
  ['"api.stripe.com"', '"https://api.stripe.com"', '"https://', 'ERR_AETHERFILE_VALUE'],
  ['methods: ["GET", "POST"]},\n', 'methods: ["GTE", "POST"]},\n', '"GTE"', 'ERR_AETHERFILE_VALUE'],
  ['as: "STRIPE_KEY"', 'as: "stripe_key"', '"stripe_key"', 'ERR_AETHERFILE_VALUE'],
  ['{kind: "kv", bucket', '{kind: "kw", bucket', '"kw"', 'ERR_AETHERFILE_VALUE'],
  [
    '{kind: "kv", bucket: "tallies",',
    '{kind: "kv",',
    '{kind: "kv"',
    'ERR_AETHERFILE_MISSING_FIELD',
  ],
  [
    'scale: {min: 3, max: 12}',
    'scale: {min: 3, max: 2}',
    '2}\n\t\t\tplacement',
    'ERR_AETHERFILE_VALUE',
  ],
  ['metric: "rps"', 'metric: "rsp"', '"rsp"', 'ERR_AETHERFILE_VALUE'],
  ['spread: "region"', 'spread: "regions"', '"regions"', 'ERR_AETHERFILE_VALUE'],
  ['ports: [443]', 'ports: [70000]', '70000', 'ERR_AETHERFILE_VALUE'],
  ['{weight: 50}', '{wieght: 50}', '{wieght', 'ERR_AETHERFILE_MISSING_FIELD'],
  ['memory: "256Mi"', 'memory: "256MB"', '"256MB"', 'ERR_AETHERFILE_VALUE'],
  ['LOG_LEVEL', 'log_level', 'log_level', 'ERR_AETHERFILE_VALUE'],
  ['path: "/healthz"', 'path: "healthz"', '"healthz"', 'ERR_AETHERFILE_VALUE'],
  ['call: "run", ', '', '{cron', 'ERR_AETHERFILE_MISSING_FIELD'],
  ['let here = ["eu-west"', 'let here = ["EU"', '"EU"', 'ERR_AETHERFILE_VALUE'],
  ['#App', '#Ap', '#Ap ', 'ERR_CUE_REFERENCE'],
  ['package aether', 'package other', 'other', 'ERR_AETHERFILE_PACKAGE'],
  ['app: #App', 'ap: #App', 'ap:', 'ERR_AETHERFILE_UNKNOWN_FIELD'],
  ['regions: here, spread', 'regions: her, spread', 'her,', 'ERR_CUE_REFERENCE'],
  ['version: "1.2.0"', 'version: 1.2.0', '1.2.0\n', 'ERR_CUE_SYNTAX'],
  ['max: 40', 'max: 4 * 10', '* 10', 'ERR_CUE_UNSUPPORTED'],
  ['name:    "tally"', 'name:    "tally"\n\tname: "other"', '"other"', 'ERR_CUE_CONFLICT'],
  // What the schema cannot say
  ['bucket: "tallies"', 'bucket: "tally"', '"tally", keys', 'ERR_AETHERFILE_UNKNOWN_BUCKET'],
  [
    'container: "reports"',
    'container: "constructor"',
    '"constructor"',
    'ERR_AETHERFILE_UNKNOWN_CONTAINER',
  ],
  ['name: "stripe-key"', 'name: "stripe"', '"stripe", as', 'ERR_AETHERFILE_UNKNOWN_SECRET'],
  ['particle: "counter"},', 'particle: "conter"},', '"conter"', 'ERR_AETHERFILE_UNKNOWN_PARTICLE'],
  [
    'for p in ["web-api", "nightly"]',
    'for p in ["web-api", "daily"]',
    '"daily"',
    'ERR_AETHERFILE_UNKNOWN_PARTICLE',
  ],
  ['{weight: 50}', '{weight: 5}', '5}, {weight: 100', 'ERR_AETHERFILE_CANARY_WEIGHTS'],
  ['{weight: 100}', '{weight: 99}', '99', 'ERR_AETHERFILE_CANARY_WEIGHTS'],
  ['15 2 * * *', '75 2 * * *', '"75', 'ERR_AETHERFILE_CRON'],
  ['Europe/Lisbon', 'Europe/Lisboa', '"Europe/Lisboa"', 'ERR_AETHERFILE_ZONE'],
  [
    'from: [{world: true}]',
    'from: [{cidr: "10.0.0.0/33"}]',
    '"10.0.0.0/33"',
    'ERR_AETHERFILE_CIDR',
  ],
  [
    'world: "tally:counter/service@1.0.0"',
    'routes: [{host: "tally.example"}]',
    '{host: "tally.example"}',
    'ERR_AETHERFILE_ROUTE_TAKEN',
  ],
];

test('planted mistakes are found, each at its line and column', (t) => {
  for (const [from, to, at, code] of MISTAKES) {
    const source = EXAMPLE.replace(from, () => to);
    t.not(source, EXAMPLE, `${from} is in the example`);
    const before = source.slice(0, source.indexOf(at)).split('\n');
    const [first] = diagnosticsOf(source);
    t.match(
      { ...first },
      { code, file: 'Aetherfile', line: before.length, column: (before.at(-1) ?? '').length + 1 },
      `${from} -> ${to}`,
    );
    t.ok(first?.help && first.message && first.excerpt.includes('^'), 'says why and what to do');
  }
  t.end();
});

test('both ends of a range are in it', (t) => {
  for (const replicas of [1, 7]) {
    t.same(diagnosticsOf(EXAMPLE.replace('{ttl: "30d"}', `{replicas: ${replicas}}`)), []);
  }
  t.end();
});

test('several mistakes come at once, in the order of the text', (t) => {
  const source = particle(`
		scale: {min: "one", cooldown: 5}
		grants: [{kind: "kv", bucket: "carts", ops: ["gte"]}, {kind: "http", allow: ["a b"]}]
		replicas: 2
`);
  t.same(
    diagnosticsOf(source).map(({ path, line }) => `${line} ${path}`),
    [
      '11 particles.web.scale.min',
      '11 particles.web.scale.cooldown',
      '12 particles.web.grants[0].ops[0]',
      '12 particles.web.grants[1].allow[0]',
      '13 particles.web.replicas',
    ],
  );
  const error = t.throws(() => readAetherfile(source, 'Aetherfile'));
  t.match(error, {
    code: 'ERR_AETHERFILE_INVALID',
    message: /^Aetherfile:11:16: .*\(and 4 more\)$/,
  });
  t.same(JSON.parse(JSON.stringify(error)).details.diagnostics.length, 5);
  t.end();
});

test('a text that cannot be read gives its own code to the error', (t) => {
  t.throws(() => readAetherfile('app: {]', 'Aetherfile'), {
    code: 'ERR_CUE_SYNTAX',
    message: /^Aetherfile:1:7: /,
    hint: /./,
  });
  t.throws(() => readAetherfile('', 'Aetherfile'), { code: 'ERR_AETHERFILE_INVALID' });
  t.end();
});

test('in a terminal', (t) => {
  const source = particle('\t\tgrants: [{kind: "http", allow: ["https://api.stripe.com"]}]');
  t.equal(
    formatDiagnostics(diagnosticsOf(source)),
    `error[ERR_AETHERFILE_VALUE] particles.web.grants[0].allow[0]: "https://api.stripe.com" is not a host
  Aetherfile:10:35   grants: [{kind: "http", allow: ["https://api.stripe.com"]}]
                                                     ^^^^^^^^^^^^^^^^^^^^^^^^
  help: leave the scheme and the path out: "api.stripe.com"   (schema: #Host)`,
  );
  const kind = diagnosticsOf(particle('grants: [{kind: "kvv", bucket: "carts"}]'));
  t.match(kind, [{ help: 'did you mean "kv"?' }], 'only the arm that was meant is told');
  t.equal(kind.length, 1);
  t.end();
});

test('a wrong definition of the file itself', (t) => {
  const [first] = diagnosticsOf(particle('grants: [#Kv & {kind: "blob", container: "files"}]'));
  t.match(first, { code: 'ERR_AETHERFILE_MISSING_FIELD', path: 'particles.web.grants[0].bucket' });
  t.end();
});

test('a mutated example is read or refused with an AetherfileError', (t) => {
  const edit = fc.record({
    at: fc.nat({ max: EXAMPLE.length }),
    cut: fc.nat({ max: 20 }),
    put: fc.oneof(
      fc.constantFrom(
        '',
        '"',
        '{',
        '}',
        '[',
        ']',
        ':',
        ',',
        '\n',
        '#App',
        '&',
        '0',
        '-1',
        'null',
        '"x"',
        'here',
      ),
      fc.constantFrom(
        '...',
        '*',
        '|',
        '?',
        '"__proto__": 1',
        '{}',
        '[]',
        'true',
        '1.5',
        '\\',
        '"""',
      ),
      fc.string({ unit: 'binary', maxLength: 3 }),
    ),
  });
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      let source = EXAMPLE;
      for (const { at, cut, put } of edits)
        source = source.slice(0, at) + put + source.slice(at + cut);
      const diagnostics = diagnosticsOf(source);
      if (diagnostics.length === 0) accepted += 1;
      formatDiagnostics(diagnostics);
      const lines = source.split('\n').length;
      t.ok(diagnostics.every(({ line, help }) => line >= 1 && line <= lines && help !== ''));
    }),
    { numRuns: 1_000 },
  );
  t.ok(accepted > 0, 'some mutations do no harm');
  t.end();
});

test('a large file with much that is wrong is told in time', (t) => {
  const buckets = Array.from({ length: 10_000 }, (_, i) => `B${i}: replicas: 99`).join('\n');
  const diagnostics = diagnosticsOf(particle('', `kv: {\n${buckets}\n}`));
  t.equal(diagnostics.length, 100, 'no more than anyone reads');
  const routes = Array.from({ length: 5_000 }, (_, i) => `{path: "/${i}"}`).join(',\n');
  t.same(diagnosticsOf(particle(`routes: [${routes}]`)), []);
  t.end();
});

test('looking for what was meant is done for what is shown, not for all that is wrong', (t) => {
  const lines = (count: number, line: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => line(i)).join('\n');
  const tookMs = (wrong: number): number => {
    const source = `package aether
app: #App & {
  aether: "v1alpha1"
  name: "a"
  kv: {
${lines(2_000, (i) => `"bucket-number-${i}": {}`)}
  }
  particles: w: {source: path: "x", grants: [
${lines(2_000, (i) => `{kind: "kv", bucket: "${i < wrong ? 'bukcet-nubmer' : 'bucket-number'}-${i}"},`)}
  ]}
}
`;
    const startedMs = performance.now();
    t.throws(() => readAetherfile(source, 'Aetherfile'), { code: 'ERR_AETHERFILE_INVALID' });
    return performance.now() - startedMs;
  };
  tookMs(1);
  const [shown, all] = [tookMs(100), tookMs(2_000)];
  t.ok(all < 5 * shown, `${shown.toFixed()} ms for 100 wrong names, ${all.toFixed()} ms for 2,000`);
  t.end();
});

test('a name that needs quotes gets them in the help, and a long one is cut', (t) => {
  const long = 'x'.repeat(500_000);
  const refused = (source: string): Diagnostic[] => {
    try {
      readAetherfile(source, 'Aetherfile');
    } catch (error) {
      if (error instanceof AetherfileError) return [...error.diagnostics];
    }
    return [];
  };
  const app = (rest: string): string =>
    `app: #App & {aether: "v1alpha1", name: "a", particles: w: {source: path: "x"}, ${rest}}`;
  const [named] = refused(app('particles: w: grants: [{kind: "kv", bucket: "my-carts"}]'));
  t.match(named?.help, 'kv: "my-carts": {}');
  const [cut] = refused(app(`${long}: 1`));
  t.ok((cut?.message.length ?? Infinity) < 500 && (cut?.path.length ?? Infinity) < 500);
  t.end();
});
