/** The processes of this run of the benchmark, so that none outlives it. */
const live = new Set<() => Promise<void>>();
let over = false;

/**
 * @param kill ends it, and resolves when it has ended
 * @throws Error when everything was ended already
 */
export function enlist(kill: () => Promise<void>, ended: Promise<unknown>): void {
  live.add(kill);
  void ended.then(() => live.delete(kill));
  if (over) {
    void kill();
    throw new Error('the benchmark is over');
  }
}

/** Whether everything was ended: what fails from then on says nothing. */
export function isOver(): boolean {
  return over;
}

/** Ends all of them, and those that are started from now on. */
export async function endAll(): Promise<void> {
  over = true;
  await Promise.all([...live].map((kill) => kill()));
}
