import { test } from 'tap';
import { seededRandom } from '../../spec/random.ts';
import { newAcceptorState } from './acceptor-state.ts';
import { firstConfiguration } from './configuration.ts';
import { EpochRegister, type RegisterOutcome, type RegisterRequest } from './epoch-register.ts';
import type { Snapshot } from './fenced-log.ts';
import { FencedLogAcceptor } from './fenced-log-acceptor.ts';
import type { AcceptorMessage, ToOwnerMessage } from './fenced-log-message.ts';
import { FencedLogOwner } from './fenced-log-owner.ts';
import { firstValue, foldRegister, idleRegister, type RegisterValue } from './register-value.ts';

type Value = RegisterValue<string>;

const RETRY_MS = 100;
const LATER = 10_000;

/** Registers on one voter, `a`, with messages that arrive at once unless they are held back. */
class Desk {
  nowMs = 0;
  isCut = false;
  readonly outcomes = new Map<string, RegisterOutcome<string>>();
  readonly #voter: FencedLogAcceptor<Value>;
  readonly #registers = new Map<string, EpochRegister<string>>();
  readonly #founding: Snapshot<Value> = {
    index: 1,
    ballot: { counter: 0, node: 'a', run: 0 },
    configuration: firstConfiguration(['a']),
    state: firstValue('founded'),
  };

  constructor() {
    const state = newAcceptorState(1, this.#founding);
    const options = { self: 'a', state, fold: foldRegister<string>, isSigned: true };
    this.#voter = new FencedLogAcceptor<Value>({ ...options, retryMs: RETRY_MS });
    this.#voter.step({ kind: 'start', isVouched: true, nonce: 1 }, 0);
  }

  open(name: string): EpochRegister<string> {
    const owner = new FencedLogOwner<Value>({
      self: name,
      run: 1,
      generation: 1,
      idle: idleRegister,
      fold: foldRegister,
      retryMs: RETRY_MS,
      batchMax: 8,
    });
    const register = new EpochRegister<string>({
      owner,
      known: this.#founding,
      random: seededRandom(1),
      backoffMs: 1,
      backoffMaxMs: 10,
    });
    this.#registers.set(name, register);
    return register;
  }

  ask(name: string, request: RegisterRequest<string>): RegisterOutcome<string> | undefined {
    this.#step(name, { kind: 'request', request });
    return this.outcomes.get(request.id);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    for (const name of this.#registers.keys()) this.#step(name, { kind: 'tick' });
  }

  #step(name: string, event: Parameters<EpochRegister<string>['step']>[0]): void {
    const register = this.#registers.get(name) as EpochRegister<string>;
    for (const effect of register.step(event, this.nowMs)) {
      if (effect.kind === 'answer') this.outcomes.set(effect.id, effect.outcome);
      else if (effect.kind === 'send' && effect.to === 'a') this.#deliver(name, effect.message);
    }
  }

  #deliver(from: string, message: AcceptorMessage<Value>): void {
    const effects = this.#voter.step({ kind: 'message', from, message }, this.nowMs);
    for (const effect of effects) {
      if (effect.kind !== 'send' || this.isCut) continue;
      this.#step(effect.to, {
        kind: 'message',
        from: 'a',
        message: effect.message as ToOwnerMessage<Value>,
      });
    }
  }
}

const write = (
  id: string,
  expected: number,
  deadlineMs = LATER,
  under = 1,
): RegisterRequest<string> => ({
  kind: 'write',
  id,
  expected,
  under,
  record: `by ${id}`,
  deadlineMs,
});

test('R1: a write takes the number after the one it expects', (t) => {
  const desk = new Desk();
  desk.open('x');
  t.match(desk.ask('x', write('one', 1)), { kind: 'committed', number: 2 });
  t.match(desk.ask('x', write('two', 2)), { kind: 'committed', number: 3 });
  t.match(desk.ask('x', write('late', 2)), {
    kind: 'conflict',
    value: { number: 3, record: 'by two' },
  });
  t.match(desk.ask('x', { kind: 'read', id: 'r', deadlineMs: LATER }), {
    kind: 'committed',
    number: 3,
  });
  t.end();
});

test('R2: a retry is answered as the first time, wherever it is asked', (t) => {
  const desk = new Desk();
  desk.open('x');
  desk.open('y');
  desk.ask('x', write('before', 1));
  desk.isCut = true;
  t.equal(desk.ask('x', write('lost', 2, 50)), undefined);
  desk.pass(50);
  t.strictSame(desk.outcomes.get('lost'), { kind: 'unknown' });
  desk.isCut = false;
  t.match(desk.ask('y', write('lost', 2)), { kind: 'committed', number: 3 });
  t.match(desk.ask('y', write('other', 2)), { kind: 'conflict' });
  for (let number = 3; number < 40; number++) desk.ask('y', write(`n${number}`, number));
  t.strictSame(desk.ask('y', write('lost', 2)), { kind: 'unknown' }, 'too long ago to tell');
  t.end();
});

test('R3: who is behind does not refuse what is right', (t) => {
  const desk = new Desk();
  desk.open('x');
  desk.open('y');
  desk.ask('x', write('one', 1));
  t.match(desk.ask('y', write('two', 2)), { kind: 'committed', number: 3 });
  // x still takes itself for the owner.
  t.equal(desk.ask('x', write('three', 3)), undefined);
  desk.pass(20);
  t.match(desk.outcomes.get('three'), { kind: 'committed', number: 4 });
  t.match(desk.ask('x', write('ahead', 9)), { kind: 'conflict', value: { number: 4 } });
  t.end();
});

test('a record has voters, each once', (t) => {
  const desk = new Desk();
  desk.open('x');
  for (const voters of [[], ['a', 'a']]) {
    const shared = { kind: 'voters', id: 'v', expected: 1, under: 1 } as const;
    const request = { ...shared, voters, deadlineMs: LATER };
    t.throws(() => desk.ask('x', request), { code: 'ERR_RING_VOTERS' });
  }
  t.end();
});

test('voters that do not answer are waited for, and nothing else is', (t) => {
  const desk = new Desk();
  desk.open('x');
  desk.ask('x', {
    kind: 'voters',
    id: 'v',
    expected: 1,
    under: 1,
    voters: ['a', 'nobody'],
    deadlineMs: 1_000,
  });
  t.match(desk.ask('x', { kind: 'read', id: 'r', deadlineMs: LATER }), { number: 1 });
  desk.pass(1_000);
  t.strictSame(desk.outcomes.get('v'), { kind: 'unknown' });
  t.match(desk.ask('x', write('after', 1)), { kind: 'committed', number: 2 });
  t.end();
});

test('R5: voters are not changed for a record that is another now', (t) => {
  const desk = new Desk();
  desk.open('x');
  const asked = { kind: 'voters', expected: 1, under: 1, deadlineMs: LATER } as const;
  t.equal(desk.ask('x', { ...asked, id: 'waits', voters: ['a', 'nobody'] }), undefined);
  t.match(desk.ask('x', write('another', 1)), { kind: 'committed', number: 2 });
  t.match(desk.outcomes.get('waits'), { kind: 'conflict', value: { number: 2 } });
  const late = { ...asked, voters: ['a'] };
  t.match(desk.ask('x', { ...late, id: 'late' }), { kind: 'conflict' });
  t.match(desk.ask('x', { ...late, id: 'early', under: 3 }), { kind: 'conflict' });
  t.match(desk.ask('x', { ...late, id: 'now', under: 2 }), { kind: 'committed' });
  t.end();
});

test('R5: a record is not written that was made for other voters', (t) => {
  const desk = new Desk();
  desk.open('x');
  const voters = ['a'];
  const asked = {
    kind: 'voters',
    id: 'v',
    expected: 1,
    under: 1,
    voters,
    deadlineMs: LATER,
  } as const;
  t.match(desk.ask('x', asked), { kind: 'committed' });
  t.match(desk.ask('x', write('before it', 1)), { kind: 'conflict', value: { number: 1 } });
  t.match(desk.ask('x', write('for others yet', 1, LATER, 9)), { kind: 'conflict' });
  t.match(desk.ask('x', write('after it', 1, LATER, 3)), { kind: 'committed', number: 2 });
  t.match(desk.ask('x', write('after it', 1, LATER, 3)), { kind: 'committed', number: 2 }, 'R2');
  t.end();
});
