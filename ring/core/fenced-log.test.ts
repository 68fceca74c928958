import { test } from 'tap';
import { type AcceptorState, newAcceptorState, written } from './acceptor-state.ts';
import type { Ballot } from './ballot.ts';
import {
  firstConfiguration,
  isAttested,
  isQuorum,
  jointConfiguration,
  type Answer,
} from './configuration.ts';
import { type Entry, lastIndex, lastPosition, type Snapshot } from './fenced-log.ts';
import { type AcceptorEffect, FencedLogAcceptor } from './fenced-log-acceptor.ts';
import type {
  Accept,
  Accepted,
  AcceptorMessage,
  FencedLogMessage,
  Registered,
  ToOwnerMessage,
} from './fenced-log-message.ts';
import { FencedLogOwner, type OwnerEffect } from './fenced-log-owner.ts';

const GENERATION = 1;
const RETRY_MS = 100;
const founding: Snapshot<string> = {
  index: 1,
  ballot: { counter: 0, node: 'a', run: 0 },
  configuration: firstConfiguration(['a', 'b', 'c']),
  state: 'founded',
};
const ballotOf = (node: string, counter: number): Ballot => ({ counter, node, run: 1 });
const entryOf = (ballot: Ballot, value: string): Entry<string> => ({ ballot, value });

interface Voter {
  acceptor: FencedLogAcceptor<string>;
  /** What came out of its last step. */
  sent: FencedLogMessage<string>[];
  effects: AcceptorEffect<string>[];
  tell(
    this: void,
    message: AcceptorMessage<string>,
    from?: string,
  ): FencedLogMessage<string> | undefined;
}

function voterOf(
  self: string,
  state: AcceptorState<string> = newAcceptorState(GENERATION, founding),
  { isVouched = true, nonce = 1 }: { isVouched?: boolean; nonce?: number } = {},
): Voter {
  const acceptor = new FencedLogAcceptor<string>({
    self,
    state,
    fold: (_, value) => value,
    isSigned: true,
    retryMs: RETRY_MS,
  });
  const voter: Voter = {
    acceptor,
    sent: [],
    effects: acceptor.step({ kind: 'start', isVouched, nonce }, 0),
    tell(message, from = 'o') {
      voter.effects = acceptor.step({ kind: 'message', from, message }, 0);
      voter.sent = sendsOf(voter.effects);
      return voter.sent.at(-1);
    },
  };
  voter.sent = sendsOf(voter.effects);
  return voter;
}

function sendsOf(effects: AcceptorEffect<string>[]): FencedLogMessage<string>[] {
  return effects.filter((effect) => effect.kind === 'send').map(({ message }) => message);
}

/** A voter that has just registered. */
function registered(self: string): Voter {
  const voter = voterOf(self);
  voter.tell(answerTo(voter, true), self === 'a' ? 'b' : 'a');
  return voter;
}

/** How another voter, whose log is the same, answers one that comes back. */
function answerTo({ acceptor }: Voter, isWhole: boolean): Registered<string> {
  return {
    kind: 'registered',
    generation: GENERATION,
    of: acceptor.state.boot,
    promised: founding.ballot,
    isWhole,
    report: { from: 1, last: founding, entries: [] },
    boot: { number: 1, nonce: 1 },
    boots: {},
  };
}

const owners = { generation: GENERATION, boots: {}, voters: ['a', 'b', 'c'] } as const;

function accept(ballot: Ballot, rest: Partial<Accept<string>>): Accept<string> {
  const previous = { index: founding.index, ballot: founding.ballot };
  return { kind: 'accept', ...owners, ballot, previous, entries: [], committed: 1, ...rest };
}

test('L2: who promised a ballot answers none below it', (t) => {
  const { tell } = registered('a');
  const [low, high] = [ballotOf('x', 1), ballotOf('y', 1)];
  t.match(tell({ kind: 'prepare', ...owners, ballot: low, from: 1 }), { kind: 'promised' });
  t.match(tell({ kind: 'prepare', ...owners, ballot: high, from: 1 }), { kind: 'promised' });
  t.match(
    tell({ kind: 'prepare', ...owners, ballot: high, from: 1 }),
    { kind: 'promised' },
    'again',
  );
  t.match(tell({ kind: 'prepare', ...owners, ballot: low, from: 1 }), {
    kind: 'refused',
    promised: high,
  });
  t.match(tell(accept(low, { entries: [entryOf(low, 'v')] })), { kind: 'refused' });
  t.match(tell(accept(high, { entries: [entryOf(high, 'v')] })), { kind: 'accepted', index: 2 });
  const other = { ...accept(high, {}), generation: 2 };
  t.equal(tell(other), undefined, 'another generation');
  t.end();
});

test('L4: entries follow the entry that their owner put before them', (t) => {
  const { tell, acceptor } = registered('a');
  const [x, y] = [ballotOf('x', 1), ballotOf('y', 2)];
  const [one, two, other] = [entryOf(x, '1'), entryOf(x, '2'), entryOf(y, 'other')];
  const gap = { index: 2, ballot: x };
  t.match(tell(accept(x, { previous: gap, entries: [two] })), { kind: 'mismatched', committed: 1 });
  tell(accept(x, { entries: [one, two] }));
  t.match(tell(accept(x, { entries: [one] })), { kind: 'accepted', index: 2 }, 'an old copy');
  t.equal(lastIndex(acceptor.state.log), 3, 'cuts nothing');
  const wrong = { index: 2, ballot: y };
  t.match(tell(accept(y, { previous: wrong, entries: [other] })), { kind: 'mismatched' });
  t.equal(lastIndex(acceptor.state.log), 3);
  t.match(tell(accept(y, { previous: gap, entries: [other] })), { kind: 'accepted', index: 3 });
  t.strictSame(acceptor.state.log.entries, [one, other]);
  t.end();
});

test('L4: a snapshot that the log has leaves what is behind it', (t) => {
  const { tell, acceptor } = registered('a');
  const [x, y] = [ballotOf('x', 1), ballotOf('y', 2)];
  const entries = [entryOf(x, '1'), entryOf(x, '2')];
  tell(accept(x, { entries }));
  const snapshot = { ...founding, index: 2, ballot: x, state: '1' };
  tell(accept(y, { previous: snapshot, snapshot, committed: 2 }));
  t.strictSame(acceptor.state.log, { snapshot, entries: entries.slice(1) });
  const stranger = { ...founding, index: 9, ballot: y, state: '9' };
  t.match(tell(accept(y, { previous: stranger })), { kind: 'mismatched', committed: 2 });
  t.match(tell(accept(y, { previous: stranger, snapshot: stranger })), {
    kind: 'accepted',
    index: 9,
  });
  t.strictSame(acceptor.state.log, { snapshot: stranger, entries: [] });
  t.end();
});

test('L6: what an answer stands for is written before it', (t) => {
  const voter = registered('a');
  const x = ballotOf('x', 1);
  voter.tell(accept(x, { entries: [entryOf(x, '1')] }));
  t.strictSame(
    voter.effects.map(({ kind }) => kind),
    ['write', 'send'],
  );
  t.match(voter.effects[0], { write: { promised: x, log: { entries: [{ value: '1' }] } } });
  voter.tell(accept(x, { entries: [entryOf(x, '1')] }));
  t.strictSame(
    voter.effects.map(({ kind }) => kind),
    ['send'],
    'nothing new, nothing written',
  );
  t.end();
});

test('R4: all that is not known to be committed is attested each time', (t) => {
  const voter = registered('a');
  const [x, y] = [ballotOf('x', 1), ballotOf('y', 2)];
  const attested = (): (number | undefined)[] =>
    voter.effects.flatMap((effect) =>
      effect.kind === 'send' ? (effect.attests ?? []).map(({ index }) => index) : [],
    );
  voter.tell(accept(x, { entries: [entryOf(x, '1')] }));
  t.strictSame(attested(), [2]);
  voter.tell(accept(x, { previous: { index: 2, ballot: x }, entries: [entryOf(x, '2')] }));
  t.strictSame(attested(), [3, 2], 'the first answer may be lost');
  voter.tell(accept(x, { previous: { index: 3, ballot: x }, committed: 3 }));
  t.strictSame(attested(), [3, 2]);
  voter.tell(accept(x, { previous: { index: 3, ballot: x }, committed: 3 }));
  t.strictSame(attested(), []);
  voter.tell(accept(y, { previous: { index: 3, ballot: x }, entries: [entryOf(y, '3')] }));
  t.strictSame(attested(), [4]);
  voter.tell(accept(ballotOf('z', 3), { previous: { index: 4, ballot: y } }));
  t.strictSame(attested(), [], 'of another owner');
  t.end();
});

function answerOf(voter: Voter, to: Voter, self: string): Registered<string> {
  const request = to.sent.find(({ kind }) => kind === 'register');
  return voter.tell(request as AcceptorMessage<string>, self) as Registered<string>;
}

test('B1, B4: an unvouched voter votes once others have shown what it may have said', (t) => {
  const [a, b] = [registered('a'), registered('b')];
  const x = ballotOf('x', 5);
  for (const { tell } of [a, b]) tell(accept(x, { entries: [entryOf(x, 'kept')] }));
  const old = { ...newAcceptorState<string>(GENERATION, founding), boot: { number: 1, nonce: 1 } };
  const c = voterOf('c', { ...old, isRegistered: true }, { isVouched: false, nonce: 7 });
  t.equal(c.acceptor.standing, 'waiting');
  t.match(c.effects[0], { write: { boot: { number: 2, nonce: 7 }, isRegistered: false } });
  const [fromA, fromB] = [a, b].map((voter) => answerOf(voter, c, 'c')) as [
    Registered<string>,
    Registered<string>,
  ];
  t.equal(c.tell(accept(ballotOf('y', 1), {})), undefined, 'it does not vote yet');
  c.tell(fromA, 'a');
  t.equal(c.acceptor.standing, 'waiting', 'one of two others is not enough');
  c.tell(fromB, 'b');
  t.equal(c.acceptor.standing, 'voting');
  t.strictSame(c.acceptor.state.promised, x);
  t.strictSame(lastPosition(c.acceptor.state.log), { index: 2, ballot: x });
  t.match(c.tell(accept(ballotOf('y', 1), {})), { kind: 'refused' }, 'it may have promised more');
  t.end();
});

test('B2: who waits itself is asked again', (t) => {
  const state = newAcceptorState<string>(GENERATION, founding);
  const five: Snapshot<string> = {
    ...founding,
    configuration: firstConfiguration(['a', 'b', 'c', 'd', 'e']),
  };
  const voter = voterOf(
    'e',
    { ...state, log: { snapshot: five, entries: [] } },
    { isVouched: false },
  );
  const answer = (isWhole: boolean): Registered<string> => answerTo(voter, isWhole);
  voter.tell(answer(true), 'a');
  voter.tell(answer(true), 'b');
  voter.tell(answer(false), 'c');
  t.equal(voter.acceptor.standing, 'waiting', 'c may be put back too');
  const asked = voter.acceptor
    .step({ kind: 'tick' }, RETRY_MS)
    .map((effect) => effect.kind === 'send' && effect.to);
  t.strictSame(asked, ['c', 'd']);
  voter.tell(answer(true), 'c');
  t.equal(voter.acceptor.standing, 'voting');
  t.end();
});

test('B2: a disk that is vouched for is whole before its node votes', (t) => {
  const asking = voterOf('c', undefined, { isVouched: false });
  const [vouched, doubtful] = [true, false].map((isVouched) =>
    answerOf(voterOf('b', undefined, { isVouched }), asking, 'c'),
  );
  t.match([vouched, doubtful], [{ isWhole: true }, { isWhole: false }]);
  t.end();
});

test('B2: how many must have answered', (t) => {
  const attested = (
    voters: string,
    answers: Record<string, Answer>,
    isVouched = false,
    previous?: string,
  ): boolean => {
    const first = firstConfiguration((previous ?? voters).split(''));
    const configuration =
      previous === undefined ? first : jointConfiguration(first, voters.split(''));
    return isAttested(configuration, 'x', isVouched, (node) => answers[node] ?? 'silent');
  };
  const [whole, waiting] = ['whole', 'waiting'] as const;
  t.ok(attested('x', {}), 'alone there is nobody to ask');
  t.notOk(attested('xa', {}, true));
  t.ok(attested('xa', { a: waiting }));
  t.notOk(attested('xab', { a: whole }));
  t.ok(attested('xab', { a: waiting, b: waiting }), 'all power was lost');
  t.ok(attested('xab', { a: whole }, true), 'vouched for');
  t.notOk(attested('xab', {}, true));
  t.notOk(attested('xabcd', { a: whole, b: whole, c: waiting }), 'two disks may be put back');
  t.ok(attested('xabcd', { a: whole, b: whole, c: whole }));
  t.ok(attested('xabcd', { a: waiting, b: waiting, c: waiting, d: waiting }));
  t.notOk(attested('xab', { a: whole, b: whole }, false, 'xcd'), 'both sets');
  t.ok(attested('xab', { a: whole, b: whole, c: whole, d: whole }, false, 'xcd'));
  t.notOk(attested('abc', { a: waiting, b: waiting }), 'as one who is in none');
  t.ok(attested('abc', { a: whole, b: whole }));
  t.end();
});

test('B3: answers given under a boot that is over are dropped', (t) => {
  const old = { ...newAcceptorState<string>(GENERATION, founding), boot: { number: 1, nonce: 1 } };
  const c = voterOf('c', old, { isVouched: false });
  const [a, b] = [registered('a'), registered('b')];
  const asked = c.sent.find(({ kind }) => kind === 'register') as AcceptorMessage<string>;
  c.tell(a.tell(asked, 'c') as AcceptorMessage<string>, 'a');
  // Meanwhile a has started again, and b has heard of it.
  const again = voterOf('a', a.acceptor.state, { isVouched: false, nonce: 9 });
  const request = again.sent.find(({ kind }) => kind === 'register') as AcceptorMessage<string>;
  b.tell(request, 'a');
  c.tell(b.tell(asked, 'c') as AcceptorMessage<string>, 'b');
  t.equal(c.acceptor.standing, 'waiting');
  t.end();
});

test('B6: a boot that is not above the one noted is refused, for good', (t) => {
  const a = registered('a');
  const first = voterOf('c', undefined, { isVouched: false, nonce: 1 });
  answerOf(a, first, 'c');
  t.match(answerOf(a, first, 'c'), { kind: 'registered' }, 'asked again');
  const emptied = voterOf('c', undefined, { isVouched: false, nonce: 2 });
  const answer = answerOf(a, emptied, 'c');
  t.match(answer, { kind: 'outdated' });
  emptied.tell(answer, 'a');
  t.equal(emptied.acceptor.standing, 'refused');
  const restarted = voterOf('c', emptied.acceptor.state, { isVouched: true, nonce: 3 });
  t.equal(restarted.acceptor.standing, 'refused');
  t.equal(restarted.tell(accept(ballotOf('x', 1), {})), undefined);
  t.end();
});

test('B6: a voter that hears of a later boot of its own registers anew', (t) => {
  const a = registered('a');
  const boots = { a: { number: 4, nonce: 4 } };
  a.tell({ ...accept(ballotOf('x', 1), {}), boots });
  t.equal(a.acceptor.standing, 'waiting');
  t.match(a.acceptor.state, { boot: { number: 5 }, isRegistered: false });
  t.end();
});

/** An owner, and what it has sent last to each. */
function ownerOf(base: Snapshot<string> = founding): {
  owner: FencedLogOwner<string>;
  effects: OwnerEffect<string>[];
  step(event: Parameters<FencedLogOwner<string>['step']>[0]): void;
  hear(from: string, message: ToOwnerMessage<string>): void;
  win(...voters: string[]): void;
} {
  const owner = new FencedLogOwner<string>({
    self: 'o',
    run: 1,
    generation: GENERATION,
    idle: () => 'idle',
    retryMs: RETRY_MS,
    batchMax: 8,
  });
  const subject = {
    owner,
    effects: owner.step({ kind: 'acquire', base }, 0),
    step(event: Parameters<FencedLogOwner<string>['step']>[0]): void {
      subject.effects = owner.step(event, 0);
    },
    hear(from: string, message: ToOwnerMessage<string>): void {
      subject.step({ kind: 'message', from, message });
    },
    win(...voters: string[]): void {
      for (const voter of voters)
        subject.hear(voter, promised(owner, { from: base.index, last: base, entries: [] }));
    },
  };
  return subject;
}

const said = (
  number = 1,
): { generation: number; boot: { number: number; nonce: number }; boots: {} } => ({
  generation: GENERATION,
  boot: { number, nonce: number },
  boots: {},
});

function promised(
  { ballot }: FencedLogOwner<string>,
  report: { from: number; last: { index: number; ballot: Ballot }; entries: Entry<string>[] },
): ToOwnerMessage<string> {
  return { kind: 'promised', ...said(), ballot, report };
}

const acceptedBy = ({ ballot }: FencedLogOwner<string>, index: number, boot = 1): Accepted => ({
  kind: 'accepted',
  ...said(boot),
  ballot,
  index,
});

const committed = (effects: OwnerEffect<string>[]): number[] =>
  effects.filter((effect) => effect.kind === 'committed').map(({ index }) => index);

test('L3: the whole of the latest log is adopted', (t) => {
  const subject = ownerOf();
  const [low, high] = [ballotOf('x', 1), ballotOf('y', 2)];
  const long = [entryOf(low, '1'), entryOf(low, '2'), entryOf(low, '3')];
  const late = [entryOf(high, 'late')];
  subject.hear(
    'a',
    promised(subject.owner, { from: 1, last: { index: 4, ballot: low }, entries: long }),
  );
  subject.hear(
    'b',
    promised(subject.owner, { from: 1, last: { index: 2, ballot: high }, entries: late }),
  );
  t.strictSame(
    subject.owner.log.entries.map(({ value }) => value),
    ['late', 'idle'],
  );
  t.end();
});

test('L5: what is adopted is committed by an entry of the own ballot', (t) => {
  const subject = ownerOf();
  const { owner } = subject;
  const x = ballotOf('x', 1);
  const report = { from: 1, last: { index: 2, ballot: x }, entries: [entryOf(x, 'old')] };
  for (const voter of ['a', 'b']) subject.hear(voter, promised(owner, report));
  for (const voter of ['a', 'b', 'c']) subject.hear(voter, acceptedBy(owner, 2));
  t.equal(owner.isEstablished, false, 'copies of the old entry prove nothing');
  subject.hear('a', acceptedBy(owner, 3));
  t.equal(owner.committed, 1);
  subject.hear('c', acceptedBy(owner, 3));
  t.strictSame(committed(subject.effects), [3]);
  t.ok(owner.isEstablished);
  t.end();
});

test('B3: votes under a boot that is over are not counted', (t) => {
  const subject = ownerOf();
  const { owner } = subject;
  subject.win('a', 'b');
  subject.hear('a', acceptedBy(owner, 2, 1));
  const boots = { a: { number: 2, nonce: 2 } };
  subject.hear('b', { ...acceptedBy(owner, 2), boots });
  t.strictSame(committed(subject.effects), []);
  subject.hear('a', acceptedBy(owner, 2, 1));
  t.strictSame(committed(subject.effects), [], 'late');
  subject.hear('a', acceptedBy(owner, 2, 2));
  t.strictSame(committed(subject.effects), [2]);
  t.end();
});

test('V1: the log that is adopted says whose promises are needed', (t) => {
  const subject = ownerOf();
  const { owner } = subject;
  const x = ballotOf('x', 1);
  const configuration = jointConfiguration(firstConfiguration(['a', 'b', 'c']), ['a', 'd', 'e']);
  const entries = [{ ...entryOf(x, 'idle'), configuration }];
  const report = { from: 1, last: { index: 2, ballot: x }, entries };
  subject.hear('a', promised(owner, report));
  const asked = subject.effects.map((effect) => effect.kind === 'send' && effect.to);
  t.strictSame(asked, ['d', 'e']);
  subject.win('b');
  t.equal(owner.phase, 'preparing');
  subject.win('d');
  t.equal(owner.phase, 'owning');
  t.end();
});

test('V3, V5: voters change when the new ones have the log, through both majorities', (t) => {
  const subject = ownerOf();
  const { owner } = subject;
  subject.win('a', 'b');
  for (const voter of ['a', 'b']) subject.hear(voter, acceptedBy(owner, 2));
  const numbers = (): (number | undefined)[] =>
    owner.log.entries.map(({ configuration }) => configuration?.number);
  subject.step({ kind: 'change-voters', voters: ['c', 'd', 'e'] });
  t.strictSame(numbers(), [1], 'd and e have nothing yet');
  subject.hear('d', acceptedBy(owner, 2));
  t.strictSame(numbers(), [1]);
  subject.hear('e', acceptedBy(owner, 2));
  t.strictSame(numbers(), [1, 2]);
  for (const voter of ['c', 'd', 'e']) subject.hear(voter, acceptedBy(owner, 3));
  t.strictSame(numbers(), [1, 2], 'a majority of the new ones only');
  subject.hear('a', acceptedBy(owner, 3));
  t.strictSame(numbers(), [1, 2, 3]);
  t.equal(owner.committed, 3);
  for (const voter of ['a', 'b']) subject.hear(voter, acceptedBy(owner, 4));
  t.equal(owner.committed, 3, 'the old ones decide no more');
  for (const voter of ['c', 'd']) subject.hear(voter, acceptedBy(owner, 4));
  t.equal(owner.committed, 4);
  t.end();
});

test('V2: a joint quorum is a majority of both', (t) => {
  const configuration = jointConfiguration(firstConfiguration(['a', 'b', 'c']), ['c', 'd', 'e']);
  const agree = (nodes: string): boolean => isQuorum(configuration, (node) => nodes.includes(node));
  t.ok(agree('acd'));
  t.notOk(agree('abc'));
  t.notOk(agree('cde'));
  t.end();
});

test('entries go in batches, and from where a voter is', (t) => {
  const subject = ownerOf();
  const { owner } = subject;
  subject.win('a', 'b');
  for (const voter of ['a', 'b']) subject.hear(voter, acceptedBy(owner, 2));
  const to = (node: string): { from: number; count: number }[] =>
    subject.effects.flatMap((effect) =>
      effect.kind === 'send' && effect.to === node && effect.message.kind === 'accept'
        ? [{ from: effect.message.previous.index, count: effect.message.entries.length }]
        : [],
    );
  subject.step({ kind: 'append', values: Array.from({ length: 20 }, (_, i) => String(i)) });
  t.strictSame(to('a'), [{ from: 2, count: 8 }]);
  subject.hear('a', acceptedBy(owner, 10));
  t.strictSame(to('a'), [{ from: 10, count: 8 }]);
  const behind = { kind: 'mismatched', ...said(), ballot: owner.ballot, committed: 1 } as const;
  subject.hear('c', behind);
  t.strictSame(to('c'), [{ from: 1, count: 8 }]);
  subject.hear('a', {
    kind: 'refused',
    generation: 1,
    ballot: owner.ballot,
    promised: ballotOf('z', 9),
  });
  t.strictSame(subject.effects, [{ kind: 'lost' }]);
  subject.step({ kind: 'acquire', base: founding });
  t.equal(owner.ballot.counter, 10, 'above what refused it (L1)');
  t.end();
});

test('a state and its writes give the next state', (t) => {
  const state = newAcceptorState<string>(GENERATION, founding);
  const [x, y] = [ballotOf('x', 1), ballotOf('y', 2)];
  const three = written(state, { log: { entries: ['1', '2', '3'].map((v) => entryOf(x, v)) } });
  const cut = written(three, { promised: y, log: { keepThrough: 2, entries: [entryOf(y, 'b')] } });
  t.match(cut, { promised: y, log: { entries: [{ value: '1' }, { value: 'b' }] } });
  const snapshot = { index: 2, ballot: x, state: '1' };
  t.strictSame(written(cut, { log: { snapshot } }).log, { snapshot, entries: [entryOf(y, 'b')] });
  const far = { index: 9, ballot: y, state: '9' };
  t.strictSame(written(cut, { log: { snapshot: far, keepThrough: 9 } }).log, {
    snapshot: far,
    entries: [],
  });
  t.end();
});
