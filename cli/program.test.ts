import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { EXIT } from './io/exit-code.ts';
import { aether, temporary } from './run.testkit.ts';

/** A node's API in so far as a test asks for it. */
async function api(
  t: Test,
  handler: (req: IncomingMessage, res: ServerResponse) => Promise<void> | void,
): Promise<string> {
  const path = join(temporary(t), 'api.sock');
  const server = createServer((req, res) => void handler(req, res)).listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return path;
}

const json = (res: ServerResponse, value: unknown, status = 200): void => {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
};

/** What a member is in the answers of the tests, but who and how. */
const someone = { roles: [], weight: 1, ownership: 0.5, incarnation: 1, address: 'a:1' };

test('revoking says what it waits for when no answer comes', async (t) => {
  const at = await api(t, async (_, res) => {
    await pause(2_500);
    json(res, { revoked: 'nb' });
  });
  t.match(await aether(t, ['cap', 'revoke', 'nb'], { api: at }), {
    code: EXIT.ok,
    stderr: /^waits for a majority of the voters; .* does not take it back\n/,
  });
});

test('what a change of the members waits for is said while it takes its time', async (t) => {
  const members = [
    { ...someone, id: 'na', name: 'office', state: 'alive' },
    { ...someone, id: 'nb', name: 'cellar', state: 'dead' },
    { ...someone, id: 'nc', name: 'attic', state: 'dead' },
  ];
  const pending = { joining: [], leaving: ['nc'], reweighted: [], awaited: ['nb'] };
  const status = { voters: ['na'], tolerates: 0, epoch: 7, pending, members };
  const statuses = [
    status,
    { ...status, pending: undefined, voters: ['na', 'nb', 'nc'], tolerates: 1 },
  ];
  for (const args of [['remove', 'attic'], ['drain', 'attic'], ['leave']]) {
    const left = [...statuses];
    const at = await api(t, async ({ url = '' }, res) => {
      await pause(20);
      if (url.startsWith('/v1/status')) json(res, left.shift());
      else if (url.includes('/history')) json(res, { events: [] });
      else if (!url.includes('/workflows/')) json(res, { workflow: 'w' });
      else json(res, { status: left.length > 0 ? 'running' : 'completed', pending: [] });
    });
    const { code, stderr } = await aether(t, ['node', ...args], { api: at });
    t.equal(code, EXIT.ok);
    t.match(
      stderr,
      /^… epoch 7 is pending; leaving: attic \(dead\); to take over yet: cellar \(dead\)$/m,
    );
    t.match(stderr, /^… no majority answers: /m);
  }
});

test('help is data and succeeds', async (t) => {
  const { code, stdout, stderr } = await aether(t, ['--help']);
  for (const exit of Object.values(EXIT)) t.match(stdout, new RegExp(`^  ${exit} +\\S`, 'm'));
  t.equal(code, EXIT.ok);
  for (const command of [
    'up',
    'dev',
    'deploy',
    'invoke',
    'ps',
    'logs',
    'wf',
    'ring',
    'kv',
    'doctor',
  ]) {
    t.match(stdout, new RegExp(`^  ${command} `, 'm'));
  }
  t.equal(stderr, '');
});

test('a command line that cannot be meant is exit code 2 and says what can', async (t) => {
  const mistyped = await aether(t, ['dploy']);
  t.equal(mistyped.code, EXIT.usage);
  t.equal(mistyped.stdout, '');
  t.match(
    mistyped.stderr,
    /^error ERR_USAGE: unknown command 'dploy'\nhint: Did you mean deploy\?\n$/,
  );
  t.equal((await aether(t, [])).code, EXIT.usage);
  t.equal((await aether(t, ['kv'])).code, EXIT.usage);
  t.equal((await aether(t, ['kv', 'get', 'bucket'])).code, EXIT.usage);
  t.equal((await aether(t, ['ps', '--frob'])).code, EXIT.usage);
  t.equal((await aether(t, ['wf', 'list', '--limit', 'many'])).code, EXIT.usage);
  t.equal((await aether(t, ['invoke', 'app', 'hit'])).code, EXIT.usage);
});

test('a group without a command, and a command of another place, say where to look', async (t) => {
  t.match(await aether(t, ['node']), {
    code: EXIT.usage,
    stderr: /ERR_USAGE: aether node: no command was given\nhint: aether node --help/,
  });
  t.match(await aether(t, ['join', 'host:1', '--token', 'f']), {
    code: EXIT.usage,
    stderr: /hint: aether node join SEED/,
  });
  t.match(await aether(t, ['node', 'weigh', 'n2', '-1']), {
    code: EXIT.usage,
    stderr: /ERR_USAGE: "-1" is no weight/,
  });
  t.match(await aether(t, ['node', 'join', 'host:1', '--data', 'd']), {
    code: EXIT.usage,
    stderr: /--token/,
  });
});

test('with --json the refusal is a document on stdout', async (t) => {
  const { code, stdout, stderr } = await aether(t, ['ps', '--json', '--frob']);
  t.equal(code, EXIT.usage);
  t.match(JSON.parse(stdout), { error: { code: 'ERR_USAGE', message: "unknown option '--frob'" } });
  t.equal(stderr, '');
});

test('no node is exit code 7 and says how to start one', async (t) => {
  const { code, stderr } = await aether(t, ['ring', 'status']);
  t.equal(code, EXIT.unreachable);
  t.match(
    stderr,
    /ERR_API_UNREACHABLE: no node listens on .*\.aether\/api\.sock\nhint: start a node/,
  );
});

test('a refusal of the node decides the exit code', async (t) => {
  const at = await api(t, (_, res) =>
    json(res, { error: { code: 'ERR_KV_KEY_NOT_FOUND', message: 'no key k in bucket b' } }, 404),
  );
  const { code, stderr } = await aether(t, ['kv', 'get', 'b', 'k'], { api: at });
  t.equal(code, EXIT.notFound);
  t.equal(stderr, 'error ERR_KV_KEY_NOT_FOUND: no key k in bucket b\n');
});

test('a value goes in by standard input and comes out byte for byte', async (t) => {
  let stored = Buffer.alloc(0);
  const at = await api(t, async (req, res) => {
    if (req.method === 'PUT') stored = Buffer.concat(await req.toArray());
    res.writeHead(200, { etag: '"v1"' }).end(req.method === 'PUT' ? '' : stored);
  });
  const put = await aether(t, ['kv', 'put', 'b', 'k', '--api', at], { stdin: 'two\nlines' });
  t.same(put, { code: 0, stdout: 'v1\n', stderr: '' });
  const get = await aether(t, ['kv', 'get', 'b', 'k'], { api: at });
  t.same(get, { code: 0, stdout: 'two\nlines', stderr: '' });
  const asJson = await aether(t, ['kv', 'get', 'b', 'k', '--json'], { api: at });
  t.same(JSON.parse(asJson.stdout), { bucket: 'b', key: 'k', version: 'v1', value: 'two\nlines' });
});

test('status names the relay of a node that cannot be dialled, and why one is suspected', async (t) => {
  const member = { roles: ['compute'], weight: 0, ownership: 0, incarnation: 2, state: 'alive' };
  const members = [
    {
      ...member,
      id: 'na',
      name: 'office',
      address: '10.0.0.1:7400',
      why: 'alive: it says so itself',
    },
    { ...member, id: 'nb', name: 'laptop', address: 'none', relays: ['office'], via: 'office' },
    {
      ...member,
      id: 'nc',
      name: 'cellar',
      address: '10.0.0.3:7400',
      state: 'suspect',
      why: 'suspect: it is silent',
    },
  ];
  const pending = { joining: ['nb'], leaving: [], reweighted: ['nc'] };
  const status = {
    lattice: 'l',
    latticeTag: 't',
    self: 'na',
    epoch: 7,
    pending,
    voters: ['na', 'nx'],
    tolerates: 0,
    members,
  };
  const at = await api(t, (_, res) =>
    json(res, { ...status, datapath: { tier: 'userspace', why: ['x'] } }),
  );
  const { stdout, code } = await aether(t, ['ring', 'status'], { api: at });
  t.equal(code, EXIT.ok);
  const [, epoch, titles, ...lines] = stdout.split('\n');
  t.equal(
    epoch,
    'epoch 7 (pending; joining: laptop; changing weight: cellar)  voters: office, nx (tolerates no failure)',
  );
  t.match(titles, / ADDRESS +VIA +WHY$/);
  t.match(lines[0], / 10\.0\.0\.1:7400$/);
  t.match(lines[1], / none +office$/);
  t.match(lines[2], / suspect: it is silent$/);
});

test('status says how many voters more may be lost', async (t) => {
  const voters = ['na', 'nb', 'nc', 'nd', 'ne'];
  const datapath = { tier: 'userspace', why: ['x'] };
  const said = async (dead: number): Promise<[text: string, verdict: string | undefined]> => {
    const members = voters.map((id, i) => ({
      ...someone,
      id,
      name: id,
      state: i < dead ? 'dead' : 'alive',
    }));
    const status = {
      lattice: 'l',
      latticeTag: 't',
      self: 'ne',
      epoch: 7,
      voters,
      tolerates: 2,
      members,
      datapath,
    };
    const at = await api(t, (_, res) => json(res, status));
    const { stdout } = await aether(t, ['ring', 'status'], { api: at });
    const looked = await aether(t, ['doctor', '--json'], { api: at });
    const { findings } = JSON.parse(looked.stdout) as {
      findings: { check: string; verdict: string }[];
    };
    const verdict = findings.find(({ check }) => check === 'voters')?.verdict;
    return [/voters: .* \((.*)\)/.exec(stdout)?.[1] ?? '', verdict];
  };
  t.strictSame(await said(0), ['tolerates 2 failures', 'good']);
  t.strictSame(await said(1), ['tolerates 1 further failure', 'poor']);
  t.strictSame(await said(2), ['tolerates no further failure', 'poor']);
  const none = 'no majority answers: nobody can join, leave or be removed';
  t.strictSame(await said(3), [none, 'bad']);
});

test('status says of a voter whose disk nothing vouches for whom it waits for', async (t) => {
  const members = [
    { ...someone, id: 'na', name: 'office', state: 'alive' },
    { ...someone, id: 'nb', name: 'cellar', state: 'alive' },
    { ...someone, id: 'nc', name: 'attic', state: 'dead' },
  ];
  const datapath = { tier: 'userspace', why: ['x'] };
  const voters = ['na', 'nb', 'nc'];
  const status = {
    lattice: 'l',
    latticeTag: 't',
    self: 'na',
    epoch: 7,
    voters,
    tolerates: 1,
    members,
    datapath,
  };
  const at = await api(t, (_, res) => json(res, { ...status, standing: 'waiting' }));
  const { stdout } = await aether(t, ['ring', 'status'], { api: at });
  t.match(stdout, /\nthis node does not vote yet: .*, and it waits for attic\n.*--trust-disk\n/);
  const voting = await api(t, (_, res) => json(res, { ...status, standing: 'voting' }));
  t.notMatch((await aether(t, ['ring', 'status'], { api: voting })).stdout, /vote yet/);
});

const LIFE_SECONDS = 3_600;

/** A node's answer with a certificate of an hour, so many seconds old. */
function statusAged(seconds: number, failure?: object): object {
  const issuedSeconds = Math.floor(Date.now() / 1_000) - seconds;
  return {
    lattice: 'l',
    latticeTag: 't',
    self: 'na',
    epoch: 7,
    voters: ['nb'],
    tolerates: 0,
    members: [
      { ...someone, id: 'na', name: 'office', state: 'alive', ownership: 0 },
      { ...someone, id: 'nb', name: 'cellar', state: 'alive', ownership: 1 },
    ],
    datapath: { tier: 'userspace', why: ['x'] },
    certificate: {
      epoch: 3,
      issuer: 'nb',
      issuedSeconds,
      expiresSeconds: issuedSeconds + LIFE_SECONDS,
      heard: true,
      isOverdue: seconds > 3_000,
      failure,
    },
  };
}

test('status and doctor tell of the certificate, and what keeps it from being renewed', async (t) => {
  const failure = { code: 'ERR_RING_UNREACHABLE', message: 'no way to nb', hint: 'start nb' };
  let status = {};
  const at = await api(t, (_, res) => json(res, status));
  const ask = async (): Promise<{ text: string; finding: object | undefined; code: number }> => {
    const { stdout: text } = await aether(t, ['ring', 'status'], { api: at });
    const { stdout, code } = await aether(t, ['doctor', '--json'], { api: at });
    const { findings } = JSON.parse(stdout) as { findings: { check: string }[] };
    return { text, finding: findings.find(({ check }) => check === 'certificate'), code };
  };
  status = statusAged(60);
  const fresh = await ask();
  t.match(fresh.text, /\ncertificate: from cellar, renewed \S+Z; runs out \S+Z, in 5\d min/);
  t.match(fresh, { code: EXIT.ok, finding: { verdict: 'good' } });
  const clock = { code: 'ERR_RING_CLOCK', message: 'the clock is behind', hint: 'set it' };
  status = statusAged(60, clock);
  const disputed = await ask();
  t.match(disputed.text, /in 5\d min.*; others .*: the clock is behind \(ERR_RING_CLOCK\)\n/);
  t.match(disputed, { code: EXIT.ok, finding: { verdict: 'poor', fix: 'set it' } });
  status = statusAged(3_300, failure);
  const overdue = await ask();
  t.match(
    overdue.text,
    /in [45] min.*; its renewal is overdue: no way to nb \(ERR_RING_UNREACHABLE\)\n/,
  );
  t.match(overdue, { code: EXIT.ok, finding: { verdict: 'poor', fix: 'start nb' } });
  status = statusAged(3_700);
  const expired = await ask();
  t.match(expired.text, /; ran out \S+Z, 1 min \d+ s ago; its renewal is overdue\n/);
  t.match(expired, { code: EXIT.failed, finding: { verdict: 'bad', fix: /start one/ } });
  status = { ...status, certificate: undefined };
  t.match(await ask(), { text: /\ncertificate: none yet\n/, code: EXIT.failed });
});

test('an invocation sends JSON or text and says where it ran', async (t) => {
  const at = await api(t, async (req, res) => {
    const { args } = JSON.parse(Buffer.concat(await req.toArray()).toString()) as { args: unknown };
    res.setHeader('aether-node', 'n2');
    json(res, { result: { url: req.url, args } });
  });
  const { stdout, stderr } = await aether(t, ['invoke', 'tally/web', 'add', '7', 'seven'], {
    api: at,
  });
  t.same(JSON.parse(stdout), { url: '/v1/particles/tally/web/invoke', args: [7, 'seven'] });
  t.match(stderr, /^n2 · [\d.]+ ms\n$/);
});

test('logs are followed until the node ends them', async (t) => {
  const line = {
    atMs: 0,
    nodeName: 'n2',
    app: 'tally',
    particle: 'web',
    version: '1.0.0',
    stream: 'stdout',
    line: 'hello',
  };
  const at = await api(t, (req, res) => {
    t.equal(req.url, '/v1/logs?app=tally&particle=web&follow=1');
    res.writeHead(200).end(`event: log\ndata: ${JSON.stringify(line)}\n\n`);
  });
  const { stdout, code } = await aether(t, ['logs', 'tally/web', '--follow'], { api: at });
  t.equal(stdout, '1970-01-01T00:00:00.000Z n2 tally/web  hello\n');
  t.equal(code, EXIT.ok);
});

test('a workflow that goes on after the wait is exit code 8', async (t) => {
  const run = {
    id: 'w',
    name: 'order',
    version: '1',
    status: 'running',
    startedAt: 0,
    events: 1,
    pending: [],
  };
  const at = await api(t, (req, res) =>
    json(
      res,
      req.url?.includes('history') === true
        ? { events: [{ seq: 0, at: 5, kind: 'started' }] }
        : run,
    ),
  );
  t.equal(
    (await aether(t, ['wf', 'show', 'w', '--wait', '1s'], { api: at })).code,
    EXIT.stillRunning,
  );
  const { code, stdout } = await aether(t, ['wf', 'show', 'w', '--json'], { api: at });
  t.equal(code, EXIT.ok);
  t.match(JSON.parse(stdout), { id: 'w', status: 'running', history: [{ kind: 'started' }] });
});

test('the life of certificates is a duration in a range', async (t) => {
  const up = (life: string): ReturnType<typeof aether> =>
    aether(t, ['up', '--data', 'node', '--certificate-life', life]);
  t.match(await up('8d'), { code: EXIT.usage, stderr: /ERR_RING_OPTION.*\nhint: .*1 min to 7 d/ });
  t.match(await up('soon'), { code: EXIT.invalidConfig, stderr: /ERR_DURATION/ });
});

test('an Aetherfile that cannot be read is exit code 3', async (t) => {
  t.equal((await aether(t, ['check', 'Nofile'])).code, EXIT.invalidConfig);
});

test('doctor finds a port in use and a key that others may read, and fails', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const folder = temporary(t);
  writeFileSync(join(folder, 'node.key'), 'key', { mode: 0o644 });
  const { code, stdout } = await aether(t, [
    'doctor',
    '--json',
    '--data',
    folder,
    '--listen',
    `127.0.0.1:${port}`,
  ]);
  t.equal(code, EXIT.failed);
  const { findings } = JSON.parse(stdout) as { findings: { check: string; verdict: string }[] };
  const bad = findings.filter(({ verdict }) => verdict === 'bad').map(({ check }) => check);
  t.same(bad, ['data folder', `port 127.0.0.1:${port}`]);
});

test('a command of a later release says so, and the version is the package’s', async (t) => {
  for (const args of [
    ['plan', '--out', 'p.json'],
    ['wf', 'attach', 'id'],
  ]) {
    const { code, stderr } = await aether(t, args);
    t.equal(code, EXIT.failed);
    t.match(stderr, new RegExp(`ERR_NOT_AVAILABLE: aether ${args[0]}`));
  }
  const { stdout } = await aether(t, ['--version']);
  t.match(stdout, /^\d+\.\d+\.\d+\n$/);
});
