/** Bad input: each refusal has a stable code, says why and what to do, and leaves nothing half done. */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'tap';
import { startNode } from '../cli/daemon/node.ts';
import { postBundle } from '../cli/io/bundle.ts';
import { AetherError } from '../spec/error.ts';
import { TINY, ask, client, deployTiny, folder, node, tinyApp } from './nodes.ts';

/** The smallest core module: magic and version. */
const CORE_MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

test('what cannot be deployed is refused before anything is stored', async (t) => {
  const single = await node(t);
  const api = client(single);
  const refuse = async (source: string, web: Uint8Array): Promise<AetherError> => {
    const components = { web };
    const error = await postBundle(api, { source, file: 'Aetherfile', components }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!AetherError.is(error)) throw new Error('it was not refused', { cause: error });
    t.ok(error.message.length > 0, 'says why');
    t.ok((error.hint ?? '').length > 0, `${error.code} says what to do`);
    return error;
  };

  t.equal((await refuse(tinyApp('1.0.0'), CORE_MODULE)).code, 'ERR_PARTICLE_CORE_MODULE');
  t.equal(
    (await refuse(tinyApp('1.0.0'), new TextEncoder().encode('text'))).code,
    'ERR_PARTICLE_NOT_A_COMPONENT',
  );
  const truncated = await refuse(tinyApp('1.0.0'), TINY.slice(0, TINY.length / 2));
  t.match(truncated.code, /^ERR_PARTICLE_/);

  const ungranted = await refuse(tinyApp('1.0.0').replace(/grants: .*\n/, ''), TINY);
  t.equal(ungranted.code, 'ERR_PARTICLE_UNGRANTED_IMPORT');
  t.match(ungranted.message, /wasi:keyvalue\/store/, 'names the import');

  const bucket = await refuse(tinyApp('1.0.0').replace('"tallies", ops', '"unknown", ops'), TINY);
  t.match(bucket.code, /^ERR_AETHERFILE/);
  t.match(JSON.stringify(bucket.details), /unknown/);

  const syntax = await refuse(tinyApp('1.0.0').replace('kv: tallies: {}', 'kv: tallies: {]'), TINY);
  t.equal(syntax.code, 'ERR_CUE_SYNTAX');
  t.match(syntax.message, /Aetherfile:7:16/, 'line and column');

  const schedule = 'schedules: [{cron: "* * * * *", call: "run"}]';
  t.equal((await refuse(tinyApp('1.0.0', schedule), TINY)).code, 'ERR_NOT_AVAILABLE');

  t.same(await api.json('/apps'), { apps: [] });
  t.same(await api.json('/workflows'), { workflows: [] });
  t.equal((await ask(single, '/hit')).status, 404);
});

test('a port in use stops the start, and the folder is fit for the next', async (t) => {
  const occupant = createServer();
  await new Promise<void>((resolve) => {
    occupant.listen(0, '127.0.0.1', resolve);
  });
  t.teardown(() => occupant.close());
  const address = occupant.address();
  const taken = `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  const data = join(folder(t), 'node');
  for (const options of [{ listen: taken }, { ingress: taken }, { api: taken }]) {
    await t.rejects(startNode({ data, ...options }), { code: 'ERR_PORT_IN_USE', hint: /port/ });
  }
  const started = await node(t, { data });
  t.match(await deployTiny(started, '1.0.0'), { status: 'completed' });
});

test('a second node on one data folder is refused, and the first goes on', async (t) => {
  const data = join(folder(t), 'node');
  const first = await node(t, { data });
  await t.rejects(startNode({ data }), { code: 'ERR_DATA_LOCKED', hint: /./ });
  t.match(await deployTiny(first, '1.0.0'), { status: 'completed' });
});

test('a data folder of another lattice is refused', async (t) => {
  const home = await node(t);
  const data = join(folder(t), 'node');
  const elsewhere = await startNode({ data });
  const { lattice } = elsewhere.ring;
  await elsewhere.close();
  await t.rejects(startNode({ data, join: [home.address] }), {
    code: 'ERR_LATTICE_MISMATCH',
    hint: /./,
  });
  const again = await node(t, { data });
  t.equal(again.ring.lattice, lattice, 'the folder is as it was');
});

test('a node without a token, or with a bad one, does not get in', async (t) => {
  const home = await node(t);
  for (const token of [undefined, 'aec1.nonsense']) {
    await t.rejects(
      startNode({
        data: join(folder(t), 'node'),
        join: [home.address],
        ...(token === undefined ? {} : { token }),
      }),
      { code: /^ERR_RING_/, hint: /./ },
    );
  }
  t.equal((await home.status()).members.length, 1);
});

test('the control API is not opened to the network', async (t) => {
  await t.rejects(startNode({ data: join(folder(t), 'node'), api: '0.0.0.0:0' }), {
    code: 'ERR_ADDRESS',
  });
});
