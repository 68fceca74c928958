/** `aether kv`: keys and values of a bucket. */
import { readFile } from 'node:fs/promises';
import type { Context } from '../context.ts';
import { segment } from '../io/control-client.ts';
import { table } from '../io/table.ts';
import { usageError } from '../usage.ts';

export interface ConsistencyOption {
  consistency?: string;
}

function path(bucket: string, key: string): string {
  if (key === '') throw usageError('a key has at least one byte', 'aether kv get BUCKET KEY');
  return `/kv/${segment(bucket)}/${segment(key)}`;
}

export async function kvCreate(
  { client, out }: Context,
  bucket: string,
  options: { class: string; replicas?: number },
): Promise<void> {
  const { class: kind, replicas } = options;
  await client.json(`/kv/${segment(bucket)}`, {
    method: 'PUT',
    json: { class: kind, ...(replicas === undefined ? {} : { replicas }) },
  });
  out.result({ bucket, class: kind }, () => bucket);
}

/** The value as it is; with `--json` its text and version, or base64 where it is not UTF-8. */
export async function kvGet(
  { client, out }: Context,
  bucket: string,
  key: string,
  { consistency }: ConsistencyOption,
): Promise<void> {
  const { body, headers } = await client.call(path(bucket, key), {
    query: { consistency },
    headers: { accept: '*/*' },
  });
  if (!out.json) {
    out.bytes(body);
    if (process.stdout.isTTY && body.at(-1) !== 0x0a) out.line('');
    return;
  }
  out.line(JSON.stringify({ bucket, key, version: versionOf(headers), ...asText(body) }));
}

export async function kvPut(
  context: Context,
  bucket: string,
  key: string,
  value: string | undefined,
  options: ConsistencyOption & { file?: string; ifVersion?: string; ifAbsent?: boolean },
): Promise<void> {
  const { client, out } = context;
  const body =
    options.file !== undefined
      ? await readFile(options.file).catch((error: unknown) => {
          throw usageError((error as Error).message, 'name a file that can be read');
        })
      : value === undefined || value === '-'
        ? await context.stdin()
        : Buffer.from(value);
  const { headers } = await client.call(path(bucket, key), {
    method: 'PUT',
    query: { consistency: options.consistency },
    headers: { 'content-type': 'application/octet-stream', ...conditions(options) },
    body,
  });
  const version = versionOf(headers);
  out.result({ bucket, key, version }, () => version);
}

export async function kvDelete(
  { client, out }: Context,
  bucket: string,
  key: string,
  options: ConsistencyOption & { ifVersion?: string },
): Promise<void> {
  await client.call(path(bucket, key), {
    method: 'DELETE',
    query: { consistency: options.consistency },
    headers: conditions(options),
  });
  out.result({ bucket, key, deleted: true }, () => key);
}

export async function kvList(
  { client, out }: Context,
  bucket: string,
  options: { prefix?: string; after?: string; limit?: number },
): Promise<void> {
  interface Page {
    keys: { key: string; version: string }[];
    next?: string;
  }
  const page = await client.json<Page>(`/kv/${segment(bucket)}`, { query: { ...options } });
  out.result(page, () =>
    table(
      [
        { title: 'KEY', cell: ({ key }) => key },
        { title: 'VERSION', cell: ({ version }) => version },
      ],
      page.keys,
      out.paint.dim,
    ),
  );
  if (page.next !== undefined && !out.json) out.say(`more: --after ${JSON.stringify(page.next)}`);
}

function conditions(options: { ifVersion?: string; ifAbsent?: boolean }): Record<string, string> {
  return {
    ...(options.ifVersion === undefined ? {} : { 'if-match': `"${options.ifVersion}"` }),
    ...(options.ifAbsent === true ? { 'if-none-match': '*' } : {}),
  };
}

function versionOf(headers: Record<string, string>): string {
  return (headers['etag'] ?? '').replaceAll('"', '');
}

function asText(bytes: Uint8Array): { value: string } | { base64: string } {
  try {
    return { value: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return { base64: Buffer.from(bytes).toString('base64') };
  }
}
