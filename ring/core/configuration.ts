/**
 * Whose votes decide.
 *
 * V2 of spec/epoch.md: voters change from old to new through a joint configuration that needs a
 * majority of both (Ongaro, Ousterhout, "In Search of an Understandable Consensus Algorithm", §6),
 * so a quorum of one configuration and a quorum of the next always share a voter.
 */
export interface Configuration {
  /** One more with each change. */
  readonly number: number;
  readonly voters: readonly string[];
  /** The voters before, while both decide. */
  readonly previous?: readonly string[];
}

/**
 * How a voter has answered another one that comes back. `whole`: its disk lacks nothing, as it votes or is
 * vouched for; `waiting`: it comes back itself, perhaps on a damaged disk; `silent`: not yet.
 */
export type Answer = 'whole' | 'waiting' | 'silent';

export function firstConfiguration(voters: readonly string[]): Configuration {
  return { number: 1, voters };
}

/** The configuration in which `voters` begin to decide together with those of `configuration`. */
export function jointConfiguration(
  configuration: Configuration,
  voters: readonly string[],
): Configuration {
  return { number: configuration.number + 1, voters, previous: configuration.voters };
}

/** The end of a joint configuration. */
export function settledConfiguration({ number, voters }: Configuration): Configuration {
  return { number: number + 1, voters };
}

export function isJoint(configuration: Configuration): boolean {
  return configuration.previous !== undefined;
}

export function everyVoter({ voters, previous = [] }: Configuration): string[] {
  return [...new Set([...voters, ...previous])];
}

/** True when those who agree are a majority of the voters and, while joint, of those before. */
export function isQuorum(configuration: Configuration, agrees: (node: string) => boolean): boolean {
  return setsOf(configuration).every((set) => set.filter(agrees).length >= majorityOf(set.length));
}

/** How many of so many voters may fail while the others decide. */
export function spares(size: number): number {
  return size - majorityOf(size);
}

export function majorityOf(size: number): number {
  return Math.floor(size / 2) + 1;
}

/**
 * B2 of spec/epoch.md: true when those who answered include, out of every quorum in which `self` may
 * have voted, another voter that has not lost its own part of it.
 *
 * A set of n voters with quorums of q spares f = n - q of them. `self` and q - 1 others decided;
 * f + 1 of the n - 1 others have one of these among them. Should disks of others be rolled back as
 * well, they are among the waiting, and `self` and they are f at most: as many more must answer.
 *
 * @param isVouched the disk is known to be the one that voted last, or never to have voted. Then
 * nothing was lost, and it is enough that a quorum with `self` in it knows of the start.
 */
export function isAttested(
  configuration: Configuration,
  self: string,
  isVouched: boolean,
  answerOf: (node: string) => Answer,
): boolean {
  return setsOf(configuration).every((set) => {
    const others = set.filter((node) => node !== self).map(answerOf);
    const isIn = others.length < set.length;
    const whole = others.filter((answer) => answer === 'whole').length;
    const answered = others.filter((answer) => answer !== 'silent').length;
    if (isIn && isVouched) return answered >= set.length - spares(set.length) - 1;
    if (isIn && set.length === 1) return true; // Alone: nobody to ask, and no loss is tolerated.
    const lostOthers = Math.max(0, spares(set.length) - (isIn ? 1 : 0));
    const enough = spares(set.length) + 1;
    return whole >= enough || answered >= enough + lostOthers;
  });
}

function setsOf({ voters, previous }: Configuration): (readonly string[])[] {
  return previous === undefined ? [voters] : [voters, previous];
}
