import { readFileSync } from 'node:fs';

const LINES = 3;

/** The last lines of a log, as the reason in a message. */
export function readTail(file: string): string {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  return lines.slice(-LINES).join(' | ') || 'it printed nothing';
}
