/**
 * The house rules, checked by reading the sources (after TigerBeetle's tidy.zig). Each rule is a function from
 * the sources to its violations, and a test that says there are none; a failing one lists them all.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { test } from 'tap';

/** Who may import whom, beside itself. `test`, `bench` and `examples` may import everything and are imported by nobody. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  cli: ['engine', 'ring', 'particle', 'datapath', 'spec'],
  particle: ['engine', 'ring', 'datapath', 'spec'],
  datapath: ['native', 'spec'],
  ring: ['spec'],
  engine: ['spec'],
  native: ['spec'],
  spec: [],
};

/** A core is arithmetic on values: time, chance, sockets and files are handed to it. */
const CORE_PACKAGES = [/^@noble\//, /^msgpackr$/];
const OUTSIDE = [
  /\bDate\.now\b/,
  /\bnew Date\(\)/,
  /\bMath\.random\b/,
  /\bset(?:Timeout|Interval|Immediate)\b/,
  /\bprocess\./,
  /\bfetch\(/,
  /\bperformance\./,
  /\bcrypto\./,
];

/** Words about how the code came to be: they mean nothing to a later reader. */
const PROCESS_TALK = [
  /\b(?:TODO|FIXME|XXX|HACK)\b/,
  /\b(?:for now|as of now|in this (?:phase|slice|task)|phase \d|milestone \d|version 2 of this)\b/i,
  /\bissue #?\d+\b/i,
];
const ABSOLUTE_PATH = /['"`\s](?:\/work\/|\/root\/|\/home\/|\/Users\/|[A-Z]:\\)/;

const LINES_MAX = 700;
const README_WORDS_MAX = 900;

interface Source {
  path: string;
  module: string;
  text: string;
  /** The text without comments. */
  code: string;
  /** What it imports: paths in the checkout, names of packages, `node:` modules. */
  imports: string[];
  /** Those that are there when it runs. */
  loads: string[];
  isTest: boolean;
  isCore: boolean;
}

const MODULES = Object.keys(MAY_IMPORT);
/** `import … from 'x'`, `import 'x'`, `export … from 'x'`, `import('x')`. */
const IMPORT =
  /^import\s(?:[^'";()=]*?\sfrom\s)?\s*'([^']+)'|^export\s[^'";()=]*?\sfrom\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm;
const COMMENT = /\/\*[\s\S]*?\*\/|^\s*\/\/.*$|\s\/\/ .*$/gm;

function read(path: string): Source {
  const text = readFileSync(path, 'utf8');
  const code = text.replace(COMMENT, '');
  const statements = [...code.matchAll(IMPORT)].map((found) => {
    const target = found.slice(1).find(Boolean) ?? '';
    const resolved = target.startsWith('.') ? normalize(join(dirname(path), target)) : target;
    return { target: resolved, isType: /^(?:import|export) type\s/.test(found[0]) };
  });
  const imports = statements.map(({ target }) => target);
  const loads = statements.filter(({ isType }) => !isType).map(({ target }) => target);
  const isTest = path.endsWith('.test.ts');
  const module = path.split('/')[0] ?? '';
  return {
    path,
    module,
    text,
    code,
    imports,
    loads,
    isTest,
    isCore: path.includes('/core/') && !isTest,
  };
}

const sources = globSync(`{${MODULES.join(',')},test,bench,examples}/**/*.ts`, {
  exclude: ['**/node_modules/**', '**/*.d.ts'],
})
  .toSorted()
  .map(read);
const shipped = sources.filter(({ module, isTest }) => MODULES.includes(module) && !isTest);

/** The doors of the modules: their index.ts, and whatever else package.json publishes. */
interface Manifest {
  exports: Record<string, string | { default: string }>;
  dependencies: Record<string, string>;
  devDependencies?: Record<string, string>;
}
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
const doors = new Set([
  ...MODULES.map((module) => `${module}/index.ts`),
  ...Object.values(manifest.exports).map((entry) =>
    (typeof entry === 'string' ? entry : entry.default)
      .replace(/^\.\/dist\//, '')
      .replace(/\.js$/, '.ts'),
  ),
]);

const isFile = (target: string): boolean => target.endsWith('.ts');
const moduleOf = (path: string): string => path.split('/')[0] ?? '';

function forbiddenImports(): string[] {
  return shipped.flatMap(({ path, module, imports }) =>
    imports
      .filter((target) => isFile(target) && moduleOf(target) !== module)
      .filter((target) => MAY_IMPORT[module]?.includes(moduleOf(target)) !== true)
      .map((target) => `${path}: ${module} may not import ${target}`),
  );
}

function importsPastTheDoor(): string[] {
  return shipped.flatMap(({ path, module, imports }) =>
    imports
      .filter((target) => isFile(target) && moduleOf(target) !== module)
      .filter((target) => moduleOf(target) !== 'spec' && !doors.has(target))
      .map((target) => `${path}: imports ${target}, past ${moduleOf(target)}/index.ts`),
  );
}

function ioInCores(): string[] {
  return shipped
    .filter(({ isCore }) => isCore)
    .flatMap(({ path, code, imports }) => {
      const outside = imports.filter(
        (target) => !isFile(target) && !CORE_PACKAGES.some((name) => name.test(target)),
      );
      const adapters = imports.filter((target) => target.includes('/io/'));
      const reached = OUTSIDE.filter((pattern) => pattern.test(code));
      return outside
        .concat(adapters)
        .map((target) => `${path}: a core imports ${target}`)
        .concat(reached.map(({ source }) => `${path}: a core reaches outside with ${source}`));
    });
}

/** Each cycle once, as the way round that begins with its first file. Type imports are erased, so they close none. */
function cycles(): string[] {
  const loaded = new Map(shipped.map(({ path, loads }) => [path, loads]));
  const found = new Set<string>();
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (path: string): void => {
    const at = way.indexOf(path);
    if (at >= 0) {
      const cycle = way.slice(at);
      const first = cycle.indexOf(cycle.toSorted()[0] as string);
      found.add([...cycle.slice(first), ...cycle.slice(0, first + 1)].join(' -> '));
      return;
    }
    if (done.has(path)) return;
    way.push(path);
    for (const target of loaded.get(path) ?? []) visit(target);
    way.pop();
    done.add(path);
  };
  for (const path of loaded.keys()) visit(path);
  return [...found];
}

function processTalk(): string[] {
  const self = 'test/tidy.test.ts';
  return sources
    .filter(({ path }) => path !== self)
    .flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, i) =>
          [...PROCESS_TALK, ABSOLUTE_PATH]
            .filter((pattern) => pattern.test(line))
            .map(() => `${path}:${i + 1}: ${line.trim()}`),
        ),
    );
}

/** A class on plain Error that is not called an error is a signal inside its module, nobody's to catch. */
function errorsWithoutCode(): string[] {
  const errorClass =
    /^export (?:abstract )?class (\w+) extends (\w*Error)\b[^{]*\{(\}|[\s\S]*?^\})/gm;
  const staticCode = /static (?:override )?readonly code(?:: \w+)? = 'ERR_[A-Z_]+'/;
  return shipped.flatMap(({ path, code }) =>
    [...code.matchAll(errorClass)]
      .filter(([, name = '', base]) => base !== 'Error' || name.endsWith('Error'))
      .filter(([, , , body = '']) => !staticCode.test(body))
      .map(([, name]) => `${path}: ${name} has no static code`),
  );
}

function namesNotInKebabCase(): string[] {
  const kebabCase = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z]+)?\.ts$/;
  return sources.map(({ path }) => path).filter((path) => !kebabCase.test(basename(path)));
}

function longFiles(): string[] {
  return shipped
    .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > LINES_MAX)
    .map(({ path, lines }) => `${path}: ${lines} lines`);
}

function longReadme(): string[] {
  if (!existsSync('README.md')) return [];
  const words = readFileSync('README.md', 'utf8').split(/\s+/).filter(Boolean).length;
  return words > README_WORDS_MAX ? [`README.md: ${words} words`] : [];
}

function registryAddresses(): string[] {
  interface Lock {
    packages: Record<string, { resolved?: string }>;
  }
  const locks = ['', 'cli/bootstrap/', 'bench/peers/'].map(
    (folder) => `${folder}package-lock.json`,
  );
  return locks.flatMap((file) =>
    Object.entries((JSON.parse(readFileSync(file, 'utf8')) as Lock).packages)
      .filter(([, { resolved }]) => resolved !== undefined)
      .map(([name]) => `${file}: ${name}`),
  );
}

/** Versions are exact, and no dependency brings a Node: it would shadow the user's own in every npm script. */
function looseDependencies(): string[] {
  const exact = /^\d+\.\d+\.\d+(?:-[\w.]+)?$/;
  const brings = /^node$|^node-(?:bin-)?(?:linux|darwin|win)/;
  return ['package.json', 'bench/peers/package.json'].flatMap((file) => {
    const { dependencies, devDependencies } = JSON.parse(readFileSync(file, 'utf8')) as Manifest;
    return Object.entries({ ...dependencies, ...devDependencies })
      .filter(([name, version]) => !exact.test(version) || brings.test(name))
      .map(([name, version]) => `${file}: ${name} ${version}`);
  });
}

const RULES: readonly (readonly [string, () => string[]])[] = [
  ['imports flow one way', forbiddenImports],
  ['modules are entered by their door', importsPastTheDoor],
  ['cores do no I/O', ioInCores],
  ['files import one another in no circle', cycles],
  ['no word about how the code came to be, no path of one machine', processTalk],
  ['every exported error class has a static code', errorsWithoutCode],
  ['file names are kebab-case', namesNotInKebabCase],
  [`no module file has more than ${LINES_MAX} lines`, longFiles],
  [`the README has at most ${README_WORDS_MAX} words`, longReadme],
  ['lock files name packages, not registries', registryAddresses],
  ['dependencies are exact and bring no Node', looseDependencies],
];

for (const [rule, violations] of RULES) {
  test(rule, (t) => {
    t.same(violations(), []);
    t.end();
  });
}

test('the sources were found', (t) => {
  for (const module of MODULES.filter((name) => existsSync(name))) {
    t.ok(
      shipped.some((source) => source.module === module),
      module,
    );
  }
  t.end();
});
