/** The processes of this run of the benchmark, so that none outlives it. */
const live = new Set<() => Promise<void>>();
let isOver = false;

/**
 * @param kill ends it, and resolves when it has ended
 * @throws Error when everything was ended already
 */
export function enlist(kill: () => Promise<void>, ended: Promise<unknown>): void {
  live.add(kill);
  void ended.then(() => live.delete(kill));
  if (isOver) {
    void kill();
    throw new Error('the benchmark is over');
  }
}

/** Ends all of them, and those that are started from now on. */
export async function endAll(): Promise<void> {
  isOver = true;
  await Promise.all([...live].map((kill) => kill()));
}
