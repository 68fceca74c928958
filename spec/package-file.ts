/** Root of the package: the sources lie in it, the build one folder below. */
const ROOT = new URL(import.meta.url.endsWith('.ts') ? '../' : '../../', import.meta.url);

/** A file of the package that is not code and is where it is in the sources: schema, WIT, samples. */
export function packageFile(path: string): URL {
  return new URL(path, ROOT);
}

/** A module beside the caller: `.ts` when the sources run, `.js` when the build runs. */
export function sibling(importer: string, name: string): URL {
  return new URL(`./${name}${importer.endsWith('.ts') ? '.ts' : '.js'}`, importer);
}
