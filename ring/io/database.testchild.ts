/** Makes databases in the folder, one after the other, until it is killed; says which. */
import { join } from 'node:path';
import { makeDatabase } from './database.ts';

const folder = process.argv[2] as string;
for (let number = 1; ; number++) {
  const sql = 'CREATE TABLE row (at INTEGER PRIMARY KEY)';
  const isMade = makeDatabase(join(folder, `${number}.db`), sql, (made) => {
    const put = made.prepare('INSERT INTO row VALUES (?)');
    for (let at = 1; at <= 100; at++) put.run(at);
  });
  if (isMade) process.stdout.write(`${number}\n`);
}
