import { test } from 'tap';
import { table } from './table.ts';

interface Row {
  name: string;
  size: string;
}

const columns = [
  { title: 'NAME', cell: ({ name }: Row) => name },
  { title: 'SIZE', cell: ({ size }: Row) => size, align: 'right' as const },
];

test('columns are as wide as their widest cell, the last one ends with its text', (t) => {
  const rows = [
    { name: 'a', size: '1' },
    { name: 'longer', size: '12345' },
  ];
  t.equal(table(columns, rows), ['NAME     SIZE', 'a           1', 'longer  12345'].join('\n'));
  t.end();
});

test('colours and accents take no room of their own', (t) => {
  const rows = [
    { name: '\x1b[32mé\x1b[39m', size: '1' },
    { name: 'abcdef', size: '2' },
  ];
  const [, coloured, plain] = table(columns, rows).split('\n') as [string, string, string];
  // oxlint-disable-next-line no-control-regex -- colours
  t.equal(coloured.replace(/\x1b\[[0-9;]*m/g, '').length, plain.length);
  t.end();
});

test('an empty table is its titles, painted', (t) => {
  t.equal(
    table(columns, [], (text) => `\x1b[2m${text}\x1b[22m`),
    '\x1b[2mNAME\x1b[22m  \x1b[2mSIZE\x1b[22m',
  );
  t.end();
});
