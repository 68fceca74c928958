/**
 * Whether a node is out of its lattice, by what others answer it: who was put out is refused wherever it asks, and is given
 * no epoch that would prove it.
 *
 * E1  More than half of the other voters that this node knows must have said so: no single one that lies ends it.
 */
export class Exclusion {
  readonly #self: string;
  readonly #said = new Set<string>();

  constructor(self: string) {
    this.#self = self;
  }

  /** The node says that this one was put out. @returns whether that is settled. */
  hear(from: string, voters: readonly string[]): boolean {
    this.#said.add(from);
    const others = voters.filter((voter) => voter !== this.#self);
    return others.filter((voter) => this.#said.has(voter)).length * 2 > others.length; // E1
  }
}
