import { test } from 'tap';
import { AetherError } from '../spec/error.ts';
import { systemClock } from '../spec/system-clock.ts';
import type { Epoch } from './core/epoch.ts';
import { epochOf } from './epoch.testkit.ts';
import { PlacementCache } from './core/kv-placement.ts';
import { Tally } from './core/kv-quorum.ts';
import { type Round, Rounds } from './kv-round.ts';
import { RpcError } from './rpc.ts';

const member = { id: 'n1', name: 'n1', address: '', roles: [], weight: 1, tokens: [1] };

test('a round that failed is asked again when the epoch was the reason', async (t) => {
  let epoch: Epoch = epochOf([member]);
  let answer: () => object = () => ({});
  const placements = new PlacementCache(() => epoch);
  const rounds = new Rounds({
    rpc: { self: 'n0', serve: () => {}, call: async () => answer() },
    clock: systemClock,
    placements,
    learn: async () => {},
    hedgeMs: 1,
  });
  let isLost = false;
  const ask = (): Promise<Round> => {
    isLost = false;
    return rounds.ask<object>({
      method: 'kv.write',
      body: {},
      epoch: 1,
      nodes: ['n1'],
      deadlineMs: systemClock.monotonicMs() + 10_000,
      count: new Tally([['n1']], 'quorum'),
      heard: () => undefined,
      lost: () => (isLost = true),
    });
  };
  const refuse = (error: Error): void => {
    answer = () => {
      throw error;
    };
  };

  t.equal((await ask()).state, 'met');

  refuse(new AetherError('a stranger', { code: 'ERR_RING_NOT_MEMBER' }));
  t.ok(await rounds.caughtUp(await ask()), 'it has not heard of the epoch that we are both in');
  t.notOk(isLost, 'it did nothing');
  answer = () => ({ misplaced: 0 });
  t.ok(await rounds.caughtUp(await ask()), 'it is in an older one');

  refuse(new RpcError('it hung up', { code: 'ERR_RING_TIMEOUT' }));
  const round = await ask();
  t.ok(isLost, 'it may have done it');
  t.notOk(await rounds.caughtUp(round), 'the epoch is not the reason');
  epoch = { ...epoch, number: 2 };
  t.ok(await rounds.caughtUp(round), 'the node has left with its epoch');

  answer = () => ({ misplaced: 3 });
  t.notOk(await rounds.caughtUp({ ...(await ask()), epoch: 2 }), 'the newer one cannot be had');
});
