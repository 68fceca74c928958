/** Nodes as people write them: by name, by id, or by the first letters of an id. */
import type { MemberView } from '../../ring/index.ts';
import { AetherError } from '../../spec/error.ts';

/** As many letters of an id say which one is meant, in lattices of any size. */
const PREFIX_MIN = 4;
const NAMED_MAX = 8;

/** @throws AetherError ERR_RING_NODE_NOT_FOUND; ERR_RING_NODE_AMBIGUOUS when several are called so */
export function memberCalled<Member extends Pick<MemberView, 'id' | 'name'>>(
  members: readonly Member[],
  text: string,
): Member {
  const exact = members.find(({ id }) => id === text);
  if (exact !== undefined) return exact;
  const called = members.filter(({ name }) => name === text);
  const meant =
    called.length > 0 || text.length < PREFIX_MIN
      ? called
      : members.filter(({ id }) => id.startsWith(text));
  const [first] = meant;
  if (first === undefined) {
    throw new AetherError(`no member of the lattice is called ${JSON.stringify(text)}`, {
      code: 'ERR_RING_NODE_NOT_FOUND',
      hint: `give a name or the first letters of an id, as aether ring status shows: ${listed(members)}`,
    });
  }
  if (meant.length > 1) {
    throw new AetherError(`${meant.length} members may be meant by ${JSON.stringify(text)}`, {
      code: 'ERR_RING_NODE_AMBIGUOUS',
      hint: `give more of the id: ${meant
        .slice(0, NAMED_MAX)
        .map(({ id }) => id.slice(0, 12))
        .join(', ')}`,
    });
  }
  return first;
}

function listed(members: readonly Pick<MemberView, 'name'>[]): string {
  const names = members.slice(0, NAMED_MAX).map(({ name }) => name);
  return [...names, ...(members.length > NAMED_MAX ? ['…'] : [])].join(', ');
}
