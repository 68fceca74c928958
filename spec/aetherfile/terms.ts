import type { Term } from './check.ts';

/** What the scalar definitions of schema.cue are called, and what to write for them. */
export const TERMS: Readonly<Record<string, Term>> = {
  '#Name': {
    noun: 'a name',
    help: (text) => {
      const name = text
        .slice(0, 63)
        .toLowerCase()
        .replaceAll(/[^a-z0-9-]+/g, '-');
      const better = name.replace(/^[^a-z]+/, '').replace(/-+$/, '');
      const rule =
        'a name is lower-case letters, digits and "-", begins with a letter and ends in none of "-"';
      return better === '' ? rule : `write "${better}": ${rule}`;
    },
  },
  '#Duration': {
    noun: 'a duration',
    help: () => 'write text such as "250ms", "5s", "10m", "2h" or "1h30m"',
  },
  '#Bytes': {
    noun: 'a size',
    help: () => 'write bytes as a number, or text such as "64Mi", "1Gi" or "500k"',
  },
  '#Host': {
    noun: 'a host',
    help: (text) => {
      const host = /^[a-z]+:\/\/([^/]+)/.exec(text.slice(0, 300))?.[1];
      return host === undefined
        ? 'write a host such as "api.example.com", "*.example.org" or "api.example.com:8443"'
        : `leave the scheme and the path out: "${host}"`;
    },
  },
  '#Key': {
    noun: 'a key',
    help: () =>
      'write a key of letters, digits and _ . : / -, or the start of one with "*" at its end: "count:*"',
  },
  '#Port': { noun: 'a port', help: () => 'write a number from 1 to 65535' },
};
