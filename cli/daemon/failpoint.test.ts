import { test } from 'tap';
import { DEPLOY_WORKFLOW } from '../../particle/index.ts';
import { failpointProbe } from './failpoint.ts';

const STEP = {
  workflowId: 'w',
  runId: 'r',
  name: DEPLOY_WORKFLOW,
  seq: 1,
  kind: 'step-completed',
  step: 'push',
};

test('the failpoint fires once, at its step of a deploy, in its place', (t) => {
  for (const [place, hook, other] of [
    ['after-commit', 'committed', 'effectDone'],
    ['after-effect', 'effectDone', 'committed'],
  ] as const) {
    const fired: number[] = [];
    let at = 0;
    const probe = failpointProbe(`${place}:1`, () => fired.push(at));
    t.equal(probe[other], undefined);
    const { step: _, ...started } = { ...STEP, kind: 'started' };
    const events = [started, { ...STEP, name: 'another' }, STEP, started, STEP, STEP];
    for (const event of events) {
      probe[hook]?.(event);
      at += 1;
    }
    t.same(fired, [4], 'the second step of the deploy');
  }
  t.end();
});

test('a setting that names no place is refused', (t) => {
  for (const setting of ['', 'after-commit', 'before:1', 'after-effect:x']) {
    t.throws(() => failpointProbe(setting, () => {}), { code: 'ERR_FAILPOINT' });
  }
  t.end();
});
