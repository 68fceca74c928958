import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import {
  TALLIES,
  bodyOf,
  get,
  makeParticle,
  openHost,
  temporaryFolder,
} from '../fixtures/fixture.ts';
import { buildComponent } from './build.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Kept between runs: a build takes seconds. */
const cache = path.join(root, '.aether', 'build');

test('the tally sample is built from TypeScript, once, and counts', async (t) => {
  const source = path.join(root, 'samples/tally/web.ts');
  const built = await buildComponent({ source, cache });
  const again = await buildComponent({ source, cache });
  t.ok(again.cached);
  t.equal(again.path, built.path);

  const { host } = await openHost(t);
  const limits = { memory: '64Mi', time: '10s', instances: 4, outbound: 1 };
  const particle = makeParticle({ grants: [TALLIES], limits });
  const { imports } = await host.prepare('tally', 'v1', particle, built.bytes);
  t.notOk(imports.some((name) => name.startsWith('wasi:http/outgoing-handler')));
  host.activate('tally', 'web', 'v1');
  const ask = async (target: string): Promise<string> =>
    bodyOf(await host.handle('tally', 'web', get(target)));
  t.equal(await ask('/hit'), '{"count":1}\n');
  t.equal(await ask('/hit'), '{"count":2}\n');
  t.equal(await ask('/count'), '{"count":2}\n');
  t.match(await ask('/'), /GET \/hit/);
  const answers = await Promise.all(Array.from({ length: 12 }, () => ask('/count')));
  t.same(answers, Array(12).fill('{"count":2}\n'));
});

test('a source that cannot be built says why', async (t) => {
  const folder = temporaryFolder(t);
  const write = async (name: string, text: string): Promise<string> => {
    const file = path.join(folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
    return file;
  };
  const build = (source: string): Promise<unknown> =>
    buildComponent({ source, cache: path.join(folder, 'cache') });
  const refused = { code: 'ERR_PARTICLE_BUILD' };
  await t.rejects(build(path.join(folder, 'none.ts')), refused);
  await t.rejects(build(await write('enum.ts', 'enum A { B }')), {
    ...refused,
    hint: /erasable TypeScript/,
  });
  await t.rejects(build(await write('in/a.ts', "import '../../b.ts';")), {
    ...refused,
    message: /outside of its folder/,
  });
});
