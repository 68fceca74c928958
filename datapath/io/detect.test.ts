import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { detectTier, hostFacts } from './detect.ts';

test('facts are those of this host', (t) => {
  const facts = hostFacts();
  t.equal(facts.platform, process.platform);
  if (process.platform === 'linux') {
    const mask = /CapEff:\s*(\S+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    t.equal(facts.capabilities, BigInt(`0x${mask}`));
  } else {
    t.equal(facts.capabilities, 0n);
  }
  t.end();
});

test('a required tier that is not to be had fails closed', (t) => {
  t.throws(() => detectTier('ebpf'), { code: 'ERR_DATAPATH_TIER' });
  t.equal(detectTier('userspace').tier, 'userspace');
  t.end();
});
