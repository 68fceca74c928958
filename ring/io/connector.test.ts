import { test } from 'tap';
import { silentLog } from '../../spec/log.ts';
import { systemClock } from '../../spec/system-clock.ts';
import { relayAddress, Ways } from '../core/ways.ts';
import type { Dialled } from './dial.ts';
import type { Dialler } from './dialler.ts';
import { Connector } from './connector.ts';
import type { Link } from './link.ts';

const NODE = 'n';
const DIRECT = '10.0.0.1:7400';
const RELAYED = relayAddress('r');

type Dial = (signal: AbortSignal) => Promise<Dialled>;

/** Ways are tried as `dials` says, the second one at once after the first. */
async function connected(dials: Record<string, Dial>): Promise<readonly string[]> {
  const ways = new Ways('self');
  ways.set(NODE, Object.keys(dials));
  const dial = (address: string, _lane: string, _node: string, signal: AbortSignal): unknown =>
    dials[address]?.(signal);
  const clock = {
    ...systemClock,
    monotonicMs: () => 0,
    after: (_afterMs: number, done: () => void) => systemClock.after(0, done),
  };
  const connector = new Connector({
    dialler: { ways, dial } as unknown as Dialler,
    clock,
    log: silentLog,
    openLink: () => undefined,
    adopt: () => ({}) as Link,
    askBack: () => Promise.resolve(),
  });
  await connector.link(NODE, 'control');
  await connector.close();
  return ways.to(NODE, 1);
}

test('a way that another was quicker than has not failed, one that was slower has', async (t) => {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const untilAborted: Dial = (signal) =>
    new Promise((_, fail) => {
      begin();
      signal.addEventListener('abort', () => fail(signal.reason as Error));
    });
  const afterBoth: Dial = async () => {
    await begun;
    return {} as Dialled;
  };
  const both = await connected({ [DIRECT]: afterBoth, [RELAYED]: untilAborted });
  t.strictSame(both, [DIRECT, RELAYED]);
  const one = await connected({ [DIRECT]: untilAborted, [RELAYED]: afterBoth });
  t.strictSame(one, [RELAYED], 'who has a head start and needs it is passed over');
});
