/** A file beside the caller: `.ts` when the sources run, `.js` when the build runs. */
export function sibling(importer: string, name: string): URL {
  return new URL(`./${name}${importer.endsWith('.ts') ? '.ts' : '.js'}`, importer);
}
