/** Where members are: the origin of each one's address, and that of its last call. */
export class FamiliarOrigins {
  readonly #origins = new Map<string, { address?: string; call?: string }>();
  readonly #counts = new Map<string, number>();
  /** Whose address was told since the last review. */
  #told = new Set<string>();

  /** The member is there; where it was before counts no more. */
  note(member: string, by: 'address' | 'call', origin: string): void {
    if (by === 'address') this.#told.add(member);
    const known = this.#origins.get(member) ?? {};
    if (known[by] === origin) return;
    this.#count(known[by], -1);
    this.#count(origin, 1);
    this.#origins.set(member, { ...known, [by]: origin });
  }

  /** Keeps those of members, and of those whose address was told since the last review: who they are may show only later. */
  review(isMember: (node: string) => boolean): void {
    const told = this.#told;
    this.#told = new Set();
    for (const [node, { address, call }] of this.#origins) {
      if (told.has(node) || isMember(node)) continue;
      this.#count(address, -1);
      this.#count(call, -1);
      this.#origins.delete(node);
    }
  }

  has(origin: string): boolean {
    return this.#counts.has(origin);
  }

  #count(origin: string | undefined, change: 1 | -1): void {
    if (origin === undefined) return;
    const count = (this.#counts.get(origin) ?? 0) + change;
    if (count > 0) this.#counts.set(origin, count);
    else this.#counts.delete(origin);
  }
}
