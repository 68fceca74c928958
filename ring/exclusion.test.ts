/** Who is out of the lattice finds it out, and ends: while it runs, and when it is started again. */
import { test } from 'tap';
import { House, isDown, until } from './house.testkit.ts';
import type { Ring } from './index.ts';

/** Fulfilled with the code of the error for which the node has closed itself. */
function ended(ring: Ring): Promise<string> {
  return new Promise((done) => {
    ring.onChange((change) => {
      if (change.kind === 'refused') done(change.error.code);
    });
  });
}

test('a node that is revoked while it runs ends', { timeout: 60_000 }, async (t) => {
  const house = new House(t);
  const [a, b, c] = await house.lattice('a', 'b', 'c');
  const end = ended(c);
  await a.authority.revoke(c.id);
  t.equal(await end, 'ERR_RING_REVOKED');
  await c.close();
  t.ok([a, b].every((ring) => ring.epoch().revoked.includes(c.id)));
});

for (const way of ['revoked', 'removed'] as const)
  test(`a node that was ${way} while it was down is told so`, { timeout: 60_000 }, async (t) => {
    const house = new House(t);
    const [a, b, c] = await house.lattice('a', 'b', 'c');
    await house.kill('c');
    await Promise.all([isDown(a, c), isDown(b, c)]);
    await (way === 'revoked' ? a.authority.revoke(c.id) : a.remove(c.id));
    await until(b, () => b.epoch().revoked.includes(c.id));
    await t.rejects(house.open('c'), { code: 'ERR_RING_REVOKED' });
  });
