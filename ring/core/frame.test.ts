import { test } from 'tap';
import { decode, encode } from './codec.ts';
import {
  decodeFrame,
  decodeMessage,
  encodeMessage,
  encodeParts,
  FRAME_BYTES_MAX,
  FrameBatch,
  isLong,
  type Message,
  Reassembly,
} from './frame.ts';

const bytes = (hex: string): Uint8Array =>
  new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { in: value };
  return value;
}

test('plain values go over and come back', (t) => {
  const value = {
    text: 'größe',
    long: 'x'.repeat(70_000),
    numbers: [0, -1, 1.5, 2 ** 40, Number.MAX_SAFE_INTEGER, 123n, -(2n ** 62n)],
    flags: [true, false, null, undefined],
    bytes: new Uint8Array([1, 2, 3]),
    wide: Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`k${i}`, i])),
  };
  const back = decode(encode({ ...value, left: undefined })) as typeof value;
  t.strictSame({ ...back, bytes: new Uint8Array(back.bytes) }, value);
  t.end();
});

test('a value that is not plain is refused by the sender', (t) => {
  for (const value of [new Date(0), new Map([[1, 2]]), nested(33)])
    t.throws(() => encode(value), { code: 'ERR_RING_FRAME_MALFORMED' });
  t.end();
});

test('bytes that are not one value within the limits are refused', (t) => {
  const proto = '81 a9 5f5f70726f746f5f5f 80';
  const refused: Record<string, string> = {
    nothing: '',
    'a cut text': 'a5 6161',
    'a cut number': 'cd 01',
    'trailing bytes': '01 02',
    'a reserved type': 'c1',
    'a date': 'd7ff 00000000 00000000',
    'a regular expression of msgpackr': 'd578 61 00',
    'a record definition of msgpackr': 'd472 40 91a161',
    'a long extension': 'c7 01 70 00',
    'a list that claims four billion items': 'dd ffffffff',
    'a record that claims 65,535 entries': 'de ffff',
    'text that claims four billion bytes': 'db ffffffff 61',
    'a key that is a number': '81 01 01',
    'a key named __proto__': proto,
    'the same with a long head': '81 d9 09 5f5f70726f746f5f5f 80',
    'the same, deeper': `91 ${proto}`,
    'lists 33 deep': `${'91'.repeat(33)} 01`,
    'lists 100,000 deep': '91'.repeat(100_000),
    'a million empty lists': `dd 000f4240 ${'90'.repeat(1_000_000)}`,
    'a million empty byte strings': `dd 000f4240 ${'c400'.repeat(1_000_000)}`,
  };
  for (const [what, hex] of Object.entries(refused))
    t.throws(() => decode(bytes(hex)), { code: 'ERR_RING_FRAME_MALFORMED' }, what);
  t.ok(Array.isArray(decode(bytes(`${'91'.repeat(32)} 01`))), '32 deep is allowed');
  t.strictSame(decode(bytes('81 aa 5f5f70726f746f5f5f5f 01')), { __proto___: 1 });
  t.end();
});

const messages: Message[] = [
  { kind: 'request', id: 1, method: 'kv.get', body: { key: 'a' } },
  { kind: 'answer', id: 1, body: null },
  { kind: 'refusal', id: 2, error: { code: 'ERR_X', message: 'no', hint: 'ask again' } },
  { kind: 'cast', method: 'swim', body: [1, 2] },
];

test('messages go over in frames', (t) => {
  const batch = new FrameBatch();
  t.equal(batch.take(), undefined, 'nothing, no frame');
  for (const message of messages) t.equal(batch.add(encodeMessage(message)), undefined);
  t.strictSame(decodeFrame(batch.take() as Uint8Array), messages);

  const chunky = encodeMessage({ kind: 'cast', method: 'm', body: new Uint8Array(200_000) });
  t.equal(batch.add(chunky), undefined);
  const full = batch.add(chunky);
  t.equal(decodeFrame(full as Uint8Array).length, 1, 'a frame is sent before it grows too long');
  batch.take();

  const short = encodeMessage({ kind: 'cast', method: 'm', body: null });
  const crowded: Uint8Array[] = [];
  for (let i = 0; i < 2_048; i++) {
    const frame = batch.add(short);
    if (frame !== undefined) crowded.push(frame);
  }
  crowded.push(batch.take() as Uint8Array);
  const counts = crowded.map((frame) => decodeFrame(frame).length);
  t.strictSame(counts, [1_024, 1_024], 'nor has it too many messages');
  t.end();
});

test('a frame of another version, of another form or too long is refused', (t) => {
  const frame = (value: unknown): Uint8Array => Buffer.concat([Buffer.from([1]), encode(value)]);
  t.throws(() => decodeFrame(bytes('02 90')), { code: 'ERR_RING_FRAME_VERSION' });
  t.throws(() => decodeFrame(bytes('')), { code: 'ERR_RING_FRAME_VERSION' });
  t.throws(() => decodeFrame(new Uint8Array(FRAME_BYTES_MAX + 1).fill(1)), {
    code: 'ERR_RING_FRAME_TOO_LARGE',
  });
  const crowd = Array.from({ length: 1_025 }, () => [3, 'm', null]);
  t.throws(() => decodeFrame(frame(crowd)), { code: 'ERR_RING_FRAME_TOO_LARGE' });
  for (const list of [
    'text',
    {},
    [1],
    [[9, 1]],
    [[0, 1, 'm']],
    [[0, -1, 'm', null]],
    [[0, 1.5, 'm', null]],
    [[0, 1, 7, null]],
    [[2, 1, 'no error body']],
    [[2, 1, { code: 'E' }]],
    [[4, 1, true, 'not bytes']],
  ])
    t.throws(
      () => decodeFrame(frame(list)),
      { code: 'ERR_RING_FRAME_MALFORMED' },
      JSON.stringify(list),
    );
  t.end();
});

test('a long message travels in parts', (t) => {
  const body = new Uint8Array(3_000_000).map((_, i) => i % 251);
  const message = encodeMessage({ kind: 'answer', id: 7, body });
  t.ok(isLong(message));
  const reassembly = new Reassembly();
  let whole: Message | undefined;
  for (const part of encodeParts(3, message)) {
    t.equal(whole, undefined);
    t.ok(part.length < 300_000);
    const decoded = decodeMessage(part);
    if (decoded.kind === 'part') whole = reassembly.add(decoded)?.message;
  }
  t.ok(whole?.kind === 'answer' && Buffer.compare(whole.body as Uint8Array, body) === 0);
  t.throws(() => encodeMessage({ kind: 'answer', id: 1, body: new Uint8Array(17 << 20) }), {
    code: 'ERR_RING_FRAME_TOO_LARGE',
  });
  t.end();
});

test('I2: what is kept of unfinished messages is bounded', (t) => {
  const part = (stream: number, size: number): Parameters<Reassembly['add']>[0] => ({
    kind: 'part',
    stream,
    last: false,
    bytes: new Uint8Array(size),
  });
  const grown = new Reassembly();
  t.throws(
    () => {
      for (let i = 0; i < 100; i++) grown.add(part(1, 256 << 10));
    },
    { code: 'ERR_RING_FRAME_TOO_LARGE' },
  );
  const many = new Reassembly();
  t.throws(
    () => {
      for (let i = 0; i < 100; i++) many.add(part(i, 256 << 10));
    },
    { code: 'ERR_RING_FRAME_TOO_LARGE' },
  );
  const granted = new Reassembly();
  granted.add(part(1, 256 << 10), 512 << 10);
  granted.add(part(2, 256 << 10), 512 << 10);
  t.throws(() => granted.add(part(3, 256 << 10), 512 << 10), {
    code: 'ERR_RING_FRAME_TOO_LARGE',
  });
  // A short one would keep its whole frame from being freed.
  t.throws(() => new Reassembly().add(part(1, 1)), { message: /neither full nor the last/ });
  t.throws(() => new Reassembly().add({ ...part(1, 0), last: true }), {
    code: 'ERR_RING_FRAME_TOO_LARGE',
  });
  t.end();
});
