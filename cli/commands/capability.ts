/** `aether cap`, minting aside: what tokens say, who is put out, and keys that are moved or replaced. */
import { existsSync, readFileSync } from 'node:fs';
import { exportRoot, inspectToken, nextRoot, rootText } from '../../ring/index.ts';
import { base32, fromBase32 } from '../../spec/id.ts';
import type { Context } from '../context.ts';
import { segment } from '../io/control-client.ts';
import { table } from '../io/table.ts';
import { usageError } from '../usage.ts';

/** Says what a token holds; its secret is not shown. Works without a node. */
export async function inspect(context: Context, given: string): Promise<void> {
  const text = await tokenText(context, given);
  if (text === undefined)
    throw usageError(`${given} is neither a token nor a file`, 'name a file with the token, or -');
  const summary = inspectToken(text);
  context.out.result(summary, () => {
    const time = (seconds: number): string => new Date(seconds * 1_000).toISOString();
    const rows = Object.entries({
      ...summary,
      roles: summary.roles.join(','),
      zone: summary.zone ?? 'any',
      issuedSeconds: time(summary.issuedSeconds),
      expiresSeconds: time(summary.expiresSeconds),
    }).map(([name, value]) => ({
      name: name.replace('Seconds', '').replace('Tag', ' tag'),
      value: String(value),
    }));
    const columns = [
      { title: 'JOIN TOKEN', cell: ({ name }: (typeof rows)[number]) => name },
      { title: '', cell: ({ value }: (typeof rows)[number]) => value },
    ];
    return table(columns, rows, context.out.paint.dim);
  });
}

/** After so long without an answer a user is told what is waited for. */
const SILENCE_MS = 2_000;

/** Puts a node out for good, or ends a token: it is a token, a file with one, a token's id, or else a node. */
export async function revoke(context: Context, given: string): Promise<void> {
  const { client, out } = context;
  const text = await tokenText(context, given);
  const summary = text === undefined ? undefined : inspectToken(text);
  const id = summary?.id ?? given;
  const isToken = fromBase32(id)?.length === 16;
  const path = `/ring/${isToken ? 'tokens' : 'nodes'}/${segment(id)}/revoke`;
  const expires = summary === undefined ? {} : { expiresSeconds: summary.expiresSeconds };
  const asked = client.json<{ revoked: string }>(path, { method: 'POST', json: expires });
  const patience = setTimeout(() => {
    out.say('waits for a majority of the voters; who stops waiting here does not take it back');
  }, SILENCE_MS);
  const answer = await asked.finally(() => clearTimeout(patience));
  out.result(answer, () => answer.revoked);
  out.say(
    isToken
      ? 'it lets nobody in any more; who came in with it stays'
      : 'nobody speaks with it any more; the others take over what it kept: aether ring status',
  );
}

/** A secret is better not on a command line, where others see it. */
async function tokenText(context: Context, given: string): Promise<string | undefined> {
  if (given.startsWith('aec1.')) return given;
  if (given === '-') return Buffer.from(await context.stdin()).toString('utf8');
  return existsSync(given) ? readFileSync(given, 'utf8') : undefined;
}

/** Moves the root key out of a data folder, or prints it. */
export function exportRootKey({ out }: Context, file: string, { data }: { data: string }): void {
  if (file === '-') {
    out.bytes(Buffer.from(rootText(data)));
    out.say(`the key is still in ${data}; once it is safe elsewhere, delete root.key there`);
    return;
  }
  exportRoot(data, file);
  out.result({ exported: file }, () => file);
  out.say(`the root key is in ${file} and nowhere else; keep it where no node can read it`);
}

/** Makes a new key the root of the lattice, by the word of the newest one. */
export async function rotateRoot(
  { client, out }: Context,
  { root, new: next }: { root: string; new: string },
): Promise<void> {
  const known = await client.json<{ lattice: string; founder: string; roots: string[] }>(
    '/ring/root',
  );
  const roots = known.roots.map((key) => fromBase32(key) as Uint8Array);
  const statement = nextRoot(root, next, { ...known, roots });
  if (statement !== undefined) {
    const { key, signature, founder } = statement;
    const json = { key: base32(key), signature: base32(signature), founder: base32(founder) };
    await client.json('/ring/root', { method: 'POST', json });
  }
  out.result({ root: next }, () => next);
  out.say(`the key in ${next} is the root now; the one in ${root} signs nothing any more`);
}

/** Replaces the issuer key of the node that is asked. */
export async function rotateIssuer({ client, out }: Context): Promise<void> {
  const answer = await client.json<{ issuer: string }>('/ring/issuer', { method: 'POST' });
  out.result(answer, () => answer.issuer);
}
