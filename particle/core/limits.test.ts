import { test } from 'tap';
import type { Particle } from '../../spec/aetherfile/app.ts';
import { guestLimits } from './limits.ts';

function particle(instances: number, max: number, memory: number | string = '64Mi'): Particle {
  return {
    limits: { memory, time: '5s', instances, outbound: 32 },
    scale: { min: 0, max },
  } as Particle;
}

test('instances are bounded by the limit and by the scale', (t) => {
  t.equal(guestLimits(particle(16, 4)).instances, 4);
  t.equal(guestLimits(particle(2, 40)).instances, 2);
  t.end();
});

test('memory is whole pages of 64 KiB, in every unit', (t) => {
  t.equal(guestLimits(particle(1, 1, '1Mi')).memoryPages, 16);
  t.equal(guestLimits(particle(1, 1, 65_536)).memoryPages, 1);
  t.throws(() => guestLimits(particle(1, 1, '1 MiB')), { code: 'ERR_PARTICLE_LIMIT' });
  t.end();
});
