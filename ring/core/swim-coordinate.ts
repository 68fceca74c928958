/**
 * Where a node is in a space in which distance is round-trip time: Vivaldi (Dabek, Cox, Kaashoek, Morris,
 * SIGCOMM 2004), three dimensions and a height, with the constants of serf's coordinate package.
 */
import type { Random } from '../../spec/random.ts';

/** All lengths in milliseconds. */
export interface Coordinate {
  x: number;
  y: number;
  z: number;
  /** What every way from this node costs before it reaches the network. */
  height: number;
  /** Relative error of estimates, 0 (sure) to 1.5 (no idea). */
  error: number;
}

const ERROR_MAX = 1.5;
const HEIGHT_MIN_MS = 0.01;
/** How much one sample moves the error and the place. */
const ERROR_GAIN = 0.25;
const PLACE_GAIN = 0.25;

export const NOWHERE: Readonly<Coordinate> = {
  x: 0,
  y: 0,
  z: 0,
  height: HEIGHT_MIN_MS,
  error: ERROR_MAX,
};

/** The estimated round trip between two nodes, in milliseconds. */
export function distanceMs(a: Readonly<Coordinate>, b: Readonly<Coordinate>): number {
  return lengthOf(a.x - b.x, a.y - b.y, a.z - b.z) + a.height + b.height;
}

/** Moves the own coordinate by one measured round trip to a node that says it is at `other`. */
export function move(
  own: Coordinate,
  other: Readonly<Coordinate>,
  rttMs: number,
  random: Random,
): void {
  const measured = Math.max(rttMs, HEIGHT_MIN_MS);
  const estimated = distanceMs(own, other);
  const wrongness = Math.abs(estimated - measured) / measured;
  const weight = own.error / Math.max(own.error + other.error, 1e-6);
  own.error = Math.min(
    ERROR_MAX,
    ERROR_GAIN * weight * wrongness + own.error * (1 - ERROR_GAIN * weight),
  );
  const force = PLACE_GAIN * weight * (measured - estimated);
  let [x, y, z] = [own.x - other.x, own.y - other.y, own.z - other.z];
  const apart = lengthOf(x, y, z);
  let length = apart;
  if (apart < 1e-6) {
    // In one place: apart in any direction.
    [x, y, z] = [random.next() - 0.5, random.next() - 0.5, random.next() - 0.5];
    length = Math.max(lengthOf(x, y, z), 1e-6);
  }
  if (apart >= 1e-6)
    own.height = Math.max(
      HEIGHT_MIN_MS,
      own.height + ((own.height + other.height) * force) / apart,
    );
  own.x += (x * force) / length;
  own.y += (y * force) / length;
  own.z += (z * force) / length;
}

/** Math.hypot guards against overflow, at several times the cost. */
function lengthOf(x: number, y: number, z: number): number {
  return Math.sqrt(x * x + y * y + z * z);
}
