import { readFileSync } from 'node:fs';
import type { Data } from '../cue/data.ts';
import { CueError, diagnose, type Diagnostic, type Fault, type Path } from '../cue/diagnostic.ts';
import { evaluate } from '../cue/evaluate.ts';
import { parse } from '../cue/parser.ts';
import { Schema } from '../cue/schema.ts';
import { Source, type Span } from '../cue/source.ts';
import { packageFile } from '../package-file.ts';
import type { App } from './app.ts';
import { check } from './check.ts';
import { violations } from './rules.ts';
import { suggest } from './suggest.ts';
import { TERMS } from './terms.ts';

export { type Diagnostic, formatDiagnostics } from '../cue/diagnostic.ts';

const DIAGNOSTICS_MAX = 100;
const PACKAGE = 'aether';

/**
 * An Aetherfile that is refused; nothing of it was used. Its details are `{ diagnostics: Diagnostic[] }`, in
 * the order of the text, at most 100. The code is ERR_AETHERFILE_INVALID, or the ERR_CUE_* of its one diagnostic
 * where the text could not be read at all.
 */
export class AetherfileError extends CueError {
  static override readonly code = 'ERR_AETHERFILE_INVALID';
}

/**
 * Reads an Aetherfile: CUE data whose `app` is checked against #App of schema.cue, with or without saying so;
 * the schema also gives the defaults. What it cannot say, such as that names lead somewhere, is checked by the
 * rules of rules.ts.
 *
 * @param file its name, for messages
 * @throws AetherfileError with everything that is wrong, each with line and column
 */
export function readAetherfile(source: string, file: string): App {
  try {
    return read(new Source(file, source));
  } catch (error) {
    if (!(error instanceof CueError) || error instanceof AetherfileError) throw error;
    throw new AetherfileError(error.diagnostics);
  }
}

function read(source: Source): App {
  const tree = parse(source);
  const faults: Fault[] = [];
  if (tree.package !== undefined && tree.package.name !== PACKAGE) {
    const message = `an Aetherfile is of package ${PACKAGE}, not ${tree.package.name}`;
    const help = `write: package ${PACKAGE}`;
    faults.push({ code: 'ERR_AETHERFILE_PACKAGE', path: [], message, at: tree.package.at, help });
  }
  const { fields, at } = evaluate(source, tree);
  for (const [name, { label }] of fields) {
    if (name === 'app') continue;
    const message = `there is no field ${JSON.stringify(name.slice(0, 64))} here`;
    const near = suggest(name, ['app']);
    const help =
      near === undefined ? 'an Aetherfile has one field: app: #App & { … }' : 'did you mean app?';
    faults.push({ code: 'ERR_AETHERFILE_UNKNOWN_FIELD', path: [name], message, at: label, help });
  }
  const app = fields.get('app');
  if (app === undefined) {
    const place = { start: at.end, end: at.end };
    const help = 'write: app: #App & {aether: "v1alpha1", name: "my-app", particles: { … }}';
    const code = 'ERR_AETHERFILE_MISSING_FIELD';
    faults.push({ code, path: ['app'], message: 'app is missing', at: place, help });
    return refuseAll(source, faults);
  }
  const checked = check(schema(), '#App', app.value, app.label, TERMS);
  faults.push(...checked.faults);
  if (checked.faults.length === 0) {
    const found = violations(checked.value as App)
      .map((violation) => ({ violation, place: locate(app.value, violation.path, app.label) }))
      .toSorted((a, b) => a.place.start - b.place.start)
      .slice(0, DIAGNOSTICS_MAX);
    for (const { violation, place } of found) {
      faults.push({ ...violation, help: violation.help(), at: place });
    }
  }
  return faults.length > 0 ? refuseAll(source, faults) : (checked.value as App);
}

function refuseAll(source: Source, faults: readonly Fault[]): never {
  const diagnostics: Diagnostic[] = faults
    .toSorted((a, b) => a.at.start - b.at.start)
    .slice(0, DIAGNOSTICS_MAX)
    .map((fault) => diagnose(source, fault));
  throw new AetherfileError(diagnostics, AetherfileError.code);
}

/** Where a value is written, or where the nearest thing around it is that is not a default. */
function locate(data: Data, path: Path, around: Span): Span {
  const [step, ...rest] = path;
  if (step === undefined) return data.at;
  if (data.kind === 'list' && typeof step === 'number') {
    const item = data.items[step];
    return item === undefined ? around : locate(item, rest, item.at);
  }
  const field = data.kind === 'struct' ? data.fields.get(String(step)) : undefined;
  return field === undefined ? around : locate(field.value, rest, field.label);
}

let loaded: Schema | undefined;

/** The schema, read when it is first needed. */
function schema(): Schema {
  if (loaded === undefined) {
    const text = readFileSync(packageFile('spec/aetherfile/schema.cue'), 'utf8');
    loaded = new Schema(new Source('schema.cue', text));
  }
  return loaded;
}
