import { type Data, show } from '../cue/data.ts';
import type { Type } from '../cue/schema.ts';

/** What the schema can say of one scalar without naming its value. */
export type Constraint = Extract<Type, { kind: 'basic' | 'bound' | 'match' }>;

export interface ConstraintViolation {
  message: string;
  /** Wrong already in its kind: text instead of a number. */
  isOtherKind: boolean;
}

const BASIC: Readonly<Record<string, { noun: string; holds: (data: Data) => boolean }>> = {
  _: { noun: 'a value', holds: () => true },
  string: { noun: 'text', holds: ({ kind }) => kind === 'text' },
  bool: { noun: 'true or false', holds: ({ kind }) => kind === 'boolean' },
  int: { noun: 'a whole number', holds: (data) => data.kind === 'number' && data.isInt },
  float: { noun: 'a float', holds: (data) => data.kind === 'number' && !data.isInt },
  number: { noun: 'a number', holds: ({ kind }) => kind === 'number' },
};

const BOUNDS = {
  '<': { holds: (value: number, limit: number) => value < limit, words: 'not less than' },
  '<=': { holds: (value: number, limit: number) => value <= limit, words: 'more than' },
  '>': { holds: (value: number, limit: number) => value > limit, words: 'not more than' },
  '>=': { holds: (value: number, limit: number) => value >= limit, words: 'less than' },
};

/** @param limit of a bound; one that is no number was wrong itself, has been told, and bounds nothing */
export function constraintViolation(
  type: Constraint,
  data: Data,
  limit: unknown,
): ConstraintViolation | undefined {
  if (type.kind === 'basic') {
    const { noun, holds } = BASIC[type.name] as (typeof BASIC)[string];
    return holds(data) ? undefined : otherKind(data, noun);
  }
  if (type.kind === 'match') {
    if (data.kind !== 'text') return otherKind(data, 'text');
    if (type.pattern.test(data.value)) return undefined;
    return { message: `${show(data)} does not match ${type.expression}`, isOtherKind: false };
  }
  if (data.kind !== 'number') return otherKind(data, 'a number');
  const { holds, words } = BOUNDS[type.operator];
  if (typeof limit !== 'number' || holds(data.value, limit)) return undefined;
  const name = type.limit.kind === 'sibling' ? `${type.limit.name}, which is ` : '';
  return { message: `${show(data)} is ${words} ${name}${limit}`, isOtherKind: false };
}

function otherKind(data: Data, noun: string): ConstraintViolation {
  return { message: `${show(data)} is not ${noun}`, isOtherKind: true };
}
