import { test } from 'tap';
import { compareRevisions, revisionText } from './revision.ts';

const ORDERED = [
  { generation: 1, claimant: 'nb' },
  { generation: 2, claimant: 'na' },
  { generation: 2, claimant: 'nb' },
  { generation: 10, claimant: 'na' },
];

test('revisions are ordered by generation, then claimant; their text sorts alike (V1)', (t) => {
  for (const [i, a] of ORDERED.entries()) {
    for (const [j, b] of ORDERED.entries()) {
      t.equal(Math.sign(compareRevisions(a, b)), Math.sign(i - j));
      t.equal(revisionText(a) < revisionText(b), i < j);
    }
  }
  t.end();
});
