/** Exit codes of every `aether` command; scripts are written against them. */
import { AetherError } from '../../spec/error.ts';

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  invalidConfig: 3,
  denied: 4,
  notFound: 5,
  conflict: 6,
  unreachable: 7,
  stillRunning: 8,
  interrupted: 130,
} as const;

/** As `aether --help` says them. */
export const EXIT_MEANINGS: Record<keyof typeof EXIT, string> = {
  ok: 'it is done',
  failed: 'it failed',
  usage: 'the command or an option is wrong',
  invalidConfig: 'an Aetherfile, a module or a component is not valid',
  denied: 'not allowed: a grant, token, signature or membership is missing',
  notFound: 'there is no such thing',
  conflict: 'in conflict with what is there',
  unreachable: 'too few nodes answered; a change may have been made',
  stillRunning: 'it goes on without this command',
  interrupted: 'interrupted; what was begun goes on where it runs',
};

/** First match wins. Codes are `ERR_AREA_REASON`: most reasons say it, some areas do. */
const BY_CODE: readonly (readonly [RegExp, number])[] = [
  [
    /^ERR_(USAGE|ADDRESS|FAILPOINT|RING_OPTION|RING_NODE_AMBIGUOUS|RING_ROOT_PLACE|API_PARAMETER)$/,
    EXIT.usage,
  ],
  [/^ERR_INTERRUPTED$/, EXIT.interrupted],
  [/^ERR_(AETHERFILE|CUE|DURATION|WORKFLOWS_MODULE)(_|$)/, EXIT.invalidConfig],
  [/^ERR_DEPLOY_COMPONENT_/, EXIT.invalidConfig],
  [
    /^ERR_PARTICLE_(CORE_MODULE|NOT_A_COMPONENT|UNGRANTED_IMPORT|UNKNOWN_IMPORT|WORLD)$/,
    EXIT.invalidConfig,
  ],
  [/_(DENIED|JOIN_REFUSED|NOT_ISSUER|EXPOSED|FORGED|REVOKED|TOKEN)(_|$)/, EXIT.denied],
  [/_(NOT_FOUND|BUCKET_UNKNOWN|NO_EXPORT|NO_ROOT)$/, EXIT.notFound],
  [
    /_(CONFLICT|EXISTS|LOCKED|MISMATCH|SUPERSEDED|FENCED|IN_USE|LAST_VOTER|CHANGE_REFUSED|NODE_ALIVE|REPLACED|TAKEN)$/,
    EXIT.conflict,
  ],
  [/_(UNREACHABLE|UNAVAILABLE|UNKNOWN_OUTCOME|NO_QUORUM)$|^ERR_RING_TIMEOUT$/, EXIT.unreachable],
];

const BY_STATUS: Record<number, number> = {
  400: EXIT.usage,
  401: EXIT.denied,
  403: EXIT.denied,
  404: EXIT.notFound,
  409: EXIT.conflict,
  412: EXIT.conflict,
  502: EXIT.unreachable,
  503: EXIT.unreachable,
  504: EXIT.unreachable,
};

/** The exit code of a command that ended with `error`: by its code, then by the HTTP status it came with. */
export function exitCodeOf(error: unknown): number {
  if (!AetherError.is(error)) return EXIT.failed;
  const byCode = BY_CODE.find(([pattern]) => pattern.test(error.code))?.[1];
  if (byCode !== undefined) return byCode;
  const status = 'status' in error ? Number(error.status) : Number.NaN;
  return BY_STATUS[status] ?? EXIT.failed;
}
