/**
 * Strict mode: what a body must not ask the outside for is refused where it is called, by name.
 *
 * The calls are replaced for the whole process, and each looks who calls it: bodies run inside an AsyncLocalStorage
 * context, which follows their promises. A mark that is set while the microtasks of a body are drained would be
 * cheaper to read, but microtasks of others run in between, and they would be refused what is theirs. In Node 24 and
 * later the context is one field that V8 carries with each promise reaction; to read it is one call.
 *
 * B1. Outside of a body every call does what it did before, with the same `this`, arguments and own properties.
 * B2. Steps, query handlers and validators are called outside of any body; so is what the engine itself needs meanwhile.
 * B3. The replaced calls are put back when the last strict engine is closed, unless somebody else has replaced them since.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import nodeCrypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import timers from 'node:timers';
import timersPromises from 'node:timers/promises';
import { StrictModeError } from '../core/errors.ts';
import type { Codec } from '../core/payload.ts';
import type { Run } from '../core/run.ts';

/** Of one engine. */
export interface BodyGuard {
  /** Calls what belongs to the body of a run. */
  readonly enter: <T>(run: Run, act: () => T) => T;
  readonly release: () => void;
}

interface Target {
  readonly owner: object;
  readonly key: string;
  /** As programs write it. */
  readonly call: string;
  readonly instead: string;
}

const bodies = new AsyncLocalStorage<Run | undefined>();
let guards = 0;
let putBack: (() => void)[] = [];

/** Replaces the calls, unless another engine has done so. */
export function guardBodies(): BodyGuard {
  if (guards === 0) putBack = replaceAll();
  guards++;
  let held = true;
  return {
    enter: (run, act) => bodies.run(run, act),
    release: () => {
      if (!held) return;
      held = false;
      if (--guards > 0) return;
      for (const undo of putBack.splice(0)) undo();
      syncBuiltinESMExports();
    },
  };
}

/** Calls, from within a body, what is not the body's. */
export function exempt<T>(act: () => T): T {
  return bodies.run(undefined, act);
}

/** A codec may ask for chance, whoever's payload it seals. */
export function exemptCodec(codec: Codec): Codec {
  return {
    encode: (plain) => exempt(() => codec.encode(plain)),
    decode: (stored) => exempt(() => codec.decode(stored)),
  };
}

function targets(): Target[] {
  const now = 'ctx.now()';
  const sleep = 'ctx.sleep()';
  const step = 'ctx.step(), and call it in there';
  const all = (owner: object, keys: readonly string[], prefix: string, instead: string): Target[] =>
    keys
      .filter((key) => typeof (owner as Record<string, unknown>)[key] === 'function')
      .map((key) => ({ owner, key, call: `${prefix}${key}()`, instead }));
  const temporalNow = (globalThis as { Temporal?: { Now: object } }).Temporal?.Now;
  const subtle = Object.getPrototypeOf(crypto.subtle) as object;
  return [
    ...all(Date, ['now'], 'Date.', now),
    ...all(Math, ['random'], 'Math.', 'ctx.random()'),
    ...all(globalThis, ['setTimeout', 'setInterval', 'setImmediate'], '', sleep),
    ...all(timers, ['setTimeout', 'setInterval', 'setImmediate'], 'timers.', sleep),
    ...all(timersPromises, ['setTimeout', 'setInterval', 'setImmediate'], 'timers.', sleep),
    ...all(globalThis, ['fetch'], '', step),
    ...all(Object.getPrototypeOf(crypto) as object, ['randomUUID'], 'crypto.', 'ctx.uuid()'),
    ...all(Object.getPrototypeOf(crypto) as object, ['getRandomValues'], 'crypto.', 'ctx.random()'),
    ...all(subtle, Object.getOwnPropertyNames(subtle).filter(isMethod), 'crypto.subtle.', step),
    ...all(nodeCrypto, ['randomUUID', 'randomUUIDv7'], 'crypto.', 'ctx.uuid()'),
    ...all(
      nodeCrypto,
      ['randomBytes', 'randomInt', 'randomFill', 'randomFillSync'],
      'crypto.',
      'ctx.random()',
    ),
    ...all(
      Object.getPrototypeOf(performance) as object,
      ['now', 'mark', 'measure', 'toJSON', 'eventLoopUtilization'],
      'performance.',
      now,
    ),
    ...all(process.hrtime, ['bigint'], 'process.hrtime.', now),
    ...all(process, ['hrtime', 'uptime'], 'process.', now),
    ...all(AbortSignal, ['timeout'], 'AbortSignal.', 'ctx.scope() with a timeout'),
    ...(temporalNow === undefined
      ? []
      : all(temporalNow, Object.getOwnPropertyNames(temporalNow), 'Temporal.Now.', now)),
  ];
}

function isMethod(name: string): boolean {
  return name !== 'constructor';
}

function replaceAll(): (() => void)[] {
  const undos = [...targets().map(replace), replaceDate()];
  syncBuiltinESMExports();
  return undos;
}

function replace({ owner, key, call, instead }: Target): () => void {
  const real = (owner as Record<string, unknown>)[key] as (...args: unknown[]) => unknown;
  const checked = new Proxy(real, {
    apply(target, self, args: unknown[]): unknown {
      check(call, instead);
      return Reflect.apply(target, self, args);
    },
  });
  return put(owner, key, checked);
}

/** `new Date(value)` is arithmetic; only without arguments it asks for the time. */
function replaceDate(): () => void {
  const Real = Date;
  const checked: DateConstructor = new Proxy(Real, {
    apply(target, self, args: unknown[]): unknown {
      check('Date()', 'new Date(ctx.now())');
      return Reflect.apply(target, self, args);
    },
    construct(target, args: unknown[], made): object {
      if (args.length === 0) check('new Date()', 'new Date(ctx.now())');
      return Reflect.construct(target, args, made === checked ? target : made) as object;
    },
  });
  const undos = [put(globalThis, 'Date', checked), put(Real.prototype, 'constructor', checked)];
  return () => {
    for (const undo of undos) undo();
  };
}

function put(owner: object, key: string, value: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(owner, key);
  const { enumerable = true } = before ?? {};
  Object.defineProperty(owner, key, { value, enumerable, writable: true, configurable: true });
  return () => {
    if ((owner as Record<string, unknown>)[key] !== value) return; // B3
    if (before === undefined) delete (owner as Record<string, unknown>)[key];
    else Object.defineProperty(owner, key, before);
  };
}

/** @throws StrictModeError inside a body; its run is stuck then */
function check(call: string, instead: string): void {
  const run = bodies.getStore();
  if (run === undefined) return;
  const { name } = run.identity;
  const at = exempt(callerLine);
  const where = at === undefined ? '' : ` (${at})`;
  const error = new StrictModeError(`the body of workflow "${name}" calls ${call}${where}`, {
    hint: `a replay would see another value; use ${instead}`,
    details: { call, instead, ...(at === undefined ? {} : { at }) },
  });
  run.forbid(error);
  throw error;
}

/** `file:line:column` of who called a replaced call. */
function callerLine(): string | undefined {
  const frames = (new Error('trace').stack ?? '').split('\n').slice(1);
  const frame = frames.find((line) => !line.includes(import.meta.url) && !line.includes('node:'));
  return frame === undefined ? undefined : /(?:file:\/\/)?([^\s(]+:\d+:\d+)\)?$/.exec(frame)?.[1];
}
