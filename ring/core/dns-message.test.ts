import { test } from 'tap';
import { randomInt, seededRandom } from '../../spec/random.ts';
import { decodeDnsMessage, type DnsMessage, encodeDnsMessage } from './dns-message.ts';

const MESSAGE: DnsMessage = {
  id: 7,
  isResponse: true,
  questions: [{ name: 'a.local', type: 'PTR', isUnicast: true }],
  records: [
    { name: 'a.local', ttlSeconds: 120, type: 'PTR', target: 'b.a.local' },
    {
      name: 'b',
      ttlSeconds: 70_000,
      type: 'SRV',
      priority: 1,
      weight: 2,
      port: 7_400,
      target: 'c',
    },
    { name: 'b', ttlSeconds: 0, type: 'TXT', texts: ['lattice=ab', ''] },
    { name: 'c', ttlSeconds: 1, type: 'A', address: '10.0.0.1' },
    { name: 'c', ttlSeconds: 1, type: 'AAAA', address: 'fe80:0:0:0:0:0:0:1' },
  ],
};

/** Words of hexadecimal digits as bytes; a word in quotes as its letters. */
function bytes(words: string): Uint8Array {
  const parts = words.split(/\s+/).filter((word) => word !== '');
  return Buffer.concat(
    parts.map((word) =>
      word.startsWith("'") ? Buffer.from(word.slice(1)) : Buffer.from(word, 'hex'),
    ),
  );
}

test('a message is read as it was written', (t) => {
  t.same(decodeDnsMessage(encodeDnsMessage(MESSAGE)), MESSAGE);
  const short = {
    ...MESSAGE,
    records: [{ name: 'c', ttlSeconds: 1, type: 'AAAA', address: '2001:db8::1' } as const],
  };
  t.match(decodeDnsMessage(encodeDnsMessage(short))?.records, [
    { address: '2001:db8:0:0:0:0:0:1' },
  ]);
  t.throws(
    () => encodeDnsMessage({ ...MESSAGE, questions: [{ name: 'a..b', type: 'A' }] }),
    RangeError,
  );
  t.end();
});

test('names may point back, and records of other types and classes are passed over', (t) => {
  const message = decodeDnsMessage(
    bytes(`0001 8400 0000 0001 0000 0003
      01 'A 05 'Local 00  000c 8001 00000078 0004 01 'b c00c
      c00c 002f 0001 00000078 0002 ffff
      01 'b c00c 0001 00fe 00000078 0004 01020304
      01 'b c00c 0001 8001 00000078 0004 01020304`),
  );
  t.same(message?.records, [
    { name: 'a.local', ttlSeconds: 120, type: 'PTR', target: 'b.a.local' },
    { name: 'b.a.local', ttlSeconds: 120, type: 'A', address: '1.2.3.4' },
  ]);
  t.end();
});

test('what is no message is none', (t) => {
  const head = '0001 8400 0000 0001 0000 0000';
  const malformed: Record<string, string> = {
    nothing: '',
    'half a header': '0001 8400 0000',
    'a record that is not there': head,
    'a name without end': `${head} 01 'a`,
    'a name that points at itself': `${head} c00c 0001 0001 00000000 0000`,
    'a name that points ahead': `${head} c00e 0001 0001 00000000 0000`,
    'a name that points into the header': `${head} c004 0001 0001 00000000 0000`,
    'a label of an unknown kind': `${head} 41 'a 00 0001 0001 00000000 0000`,
    'data beyond the end': `${head} 00 0001 0001 00000000 0004 0102`,
    'data that is too short': `${head} 00 0001 0001 00000000 0003 010203`,
    'data that is too long': `${head} 00 0001 0001 00000000 0005 0102030405`,
    'a text beyond its data': `${head} 00 0010 0001 00000000 0002 05 'a`,
    'more entries than are read': '0001 8400 ffff 0000 0000 0000',
  };
  for (const [what, words] of Object.entries(malformed))
    t.equal(decodeDnsMessage(bytes(words)), undefined, what);
  const long = `3f ${"'".padEnd(64, 'x')} `.repeat(5);
  t.equal(
    decodeDnsMessage(bytes(`${head} ${long} 00 0001 0001 00000000 0000`)),
    undefined,
    'a long name',
  );
  const texts = '00 '.repeat(33);
  t.equal(
    decodeDnsMessage(bytes(`${head} 00 0010 0001 00000000 0021 ${texts}`)),
    undefined,
    'texts',
  );
  t.equal(decodeDnsMessage(new Uint8Array(9_001)), undefined, 'too large');
  t.end();
});

test('whatever comes, it is a message or none', (t) => {
  const random = seededRandom(11);
  const whole = encodeDnsMessage(MESSAGE);
  let read = 0;
  for (let i = 0; i < 50_000; i++) {
    const mutant = whole.slice(
      0,
      whole.length - (i % 3 === 0 ? randomInt(random, whole.length) : 0),
    );
    for (let n = 1 + randomInt(random, 4); n > 0 && mutant.length > 0; n--)
      mutant[randomInt(random, mutant.length)] = randomInt(random, 256);
    if (decodeDnsMessage(mutant) !== undefined) read++;
  }
  t.ok(read > 1_000 && read < 49_000, `${read} could be read`);
  t.end();
});
