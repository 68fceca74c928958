import * as fc from 'fast-check';
import { test } from 'tap';
import { Residency, type ResidencyEffect, type WorkerView } from './residency.ts';

const OPTIONS = { instancesMax: 2, waitingMax: 3, idleMs: 100, isReused: true };
const worker = (id: number, changes: Partial<WorkerView> = {}): WorkerView => ({
  id,
  load: 0,
  stalled: false,
  stalledHere: false,
  ...changes,
});
const kinds = (effects: ResidencyEffect[]): string[] => effects.map(({ kind }) => kind);

test('cold, waking, warm, cold again', (t) => {
  const residency = new Residency(OPTIONS);
  const workers = [worker(1)];
  t.equal(residency.state, 'cold');
  t.match(residency.on({ kind: 'request', request: 1 }, 0, workers), [
    { kind: 'run', request: 1, worker: 1, fresh: true },
  ]);
  t.equal(residency.state, 'waking');
  residency.on({ kind: 'finished', request: 1, alive: true, used: true }, 10, workers);
  t.equal(residency.state, 'warm');
  t.equal(residency.nextTickMs, 110);
  t.match(residency.on({ kind: 'request', request: 2 }, 20, workers), [{ fresh: false }]);
  t.equal(residency.nextTickMs, Infinity, 'a busy instance does not age');
  residency.on({ kind: 'finished', request: 2, alive: true, used: true }, 30, workers);
  t.same(residency.on({ kind: 'tick' }, 129, workers), []);
  t.same(kinds(residency.on({ kind: 'tick' }, 130, workers)), ['drop']);
  t.equal(residency.state, 'cold');
  t.end();
});

test('requests beyond the instances wait in line, and beyond the line are refused', (t) => {
  const residency = new Residency(OPTIONS);
  const workers = [worker(1)];
  const effects = [1, 2, 3, 4, 5, 6].map((request) =>
    residency.on({ kind: 'request', request }, 0, workers),
  );
  t.same(effects.map(kinds), [['run'], ['run'], [], [], [], ['refuse']]);
  t.match(residency.on({ kind: 'finished', request: 2, alive: false, used: true }, 1, workers), [
    { kind: 'run', request: 3, fresh: true },
  ]);
  residency.on({ kind: 'withdrawn', request: 4 }, 2, workers);
  t.match(residency.on({ kind: 'finished', request: 1, alive: true, used: true }, 3, workers), [
    { kind: 'run', request: 5, fresh: false },
  ]);
  t.end();
});

test('a Particle that is stuck on one worker gets no other', (t) => {
  const residency = new Residency(OPTIONS);
  residency.on({ kind: 'request', request: 1 }, 0, [worker(1), worker(2)]);
  const stuck = [worker(1, { stalled: true, stalledHere: true }), worker(2)];
  t.same(residency.on({ kind: 'request', request: 2 }, 1, stuck), []);
  t.match(residency.on({ kind: 'lost', worker: 1 }, 2, [worker(2)]), [{ request: 2, worker: 2 }]);
  t.end();
});

test('a Particle leaves one worker free, and moves away from one that another has stuck', (t) => {
  const residency = new Residency(OPTIONS);
  const [first] = residency.on({ kind: 'request', request: 1 }, 0, [worker(1), worker(2)]);
  t.match(first, { worker: 1 });
  const loaded = [worker(1, { load: 9 }), worker(2)];
  t.match(residency.on({ kind: 'request', request: 2 }, 1, loaded), [{ worker: 1 }]);
  residency.on({ kind: 'finished', request: 1, alive: true, used: true }, 2, loaded);
  const stalled = [worker(1, { stalled: true }), worker(2)];
  t.match(residency.on({ kind: 'returned', request: 2 }, 3, stalled), [
    { kind: 'drop', worker: 1 },
    { kind: 'run', request: 2, worker: 2 },
  ]);
  t.end();
});

test('an instance that serves once is dropped after it', (t) => {
  const residency = new Residency({ ...OPTIONS, isReused: false });
  const workers = [worker(1)];
  residency.on({ kind: 'request', request: 1 }, 0, workers);
  t.same(
    residency.on({ kind: 'finished', request: 1, alive: true, used: false }, 1, workers),
    [],
    'being woken is no service',
  );
  residency.on({ kind: 'request', request: 2 }, 2, workers);
  const after = residency.on({ kind: 'finished', request: 2, alive: true, used: true }, 3, workers);
  t.same(kinds(after), ['drop']);
  t.end();
});

test('draining lets what runs and waits end', (t) => {
  const residency = new Residency({ ...OPTIONS, instancesMax: 1 });
  const workers = [worker(1)];
  residency.on({ kind: 'request', request: 1 }, 0, workers);
  residency.on({ kind: 'request', request: 2 }, 0, workers);
  t.same(residency.on({ kind: 'drain' }, 1, workers), []);
  t.same(kinds(residency.on({ kind: 'request', request: 3 }, 1, workers)), ['refuse']);
  t.same(
    kinds(residency.on({ kind: 'finished', request: 1, alive: true, used: true }, 2, workers)),
    ['run'],
  );
  t.same(
    kinds(residency.on({ kind: 'finished', request: 2, alive: true, used: true }, 3, workers)),
    ['drop', 'drained'],
  );
  t.end();
});

test('R1 holds whatever happens', (t) => {
  const step = fc.record({
    what: fc.constantFrom('request', 'finish', 'trap', 'return', 'lose', 'tick'),
    pick: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const residency = new Residency({ ...OPTIONS, waitingMax: 100 });
      const workers = [worker(1), worker(2)];
      const running = new Map<number, { instance: number; worker: number }>();
      let next = 1;
      for (const [now, { what, pick }] of steps.entries()) {
        const request = [...running.keys()][pick % Math.max(1, running.size)];
        const event =
          what === 'request'
            ? { kind: 'request' as const, request: next++ }
            : what === 'lose'
              ? { kind: 'lost' as const, worker: 1 + (pick % 2) }
              : what === 'tick' || request === undefined
                ? { kind: 'tick' as const }
                : what === 'return'
                  ? { kind: 'returned' as const, request }
                  : { kind: 'finished' as const, request, alive: what === 'finish', used: true };
        if (event.kind === 'lost') {
          for (const [id, at] of running) if (at.worker === event.worker) running.delete(id);
        } else if (event.kind === 'finished' || event.kind === 'returned') {
          running.delete(event.request);
        }
        for (const effect of residency.on(event, now * 10, workers)) {
          if (effect.kind === 'run') running.set(effect.request, effect);
        }
        const held = new Set([...running.values()].map(({ instance }) => instance));
        if (held.size !== running.size) throw new Error('two requests in one instance');
        if (running.size > OPTIONS.instancesMax) throw new Error('too many instances');
      }
    }),
  );
  t.end();
});
