/** The sample application of this package: its Aetherfile and components, built once. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildComponent } from '../../particle/index.ts';
import { readAetherfile } from '../../spec/aetherfile/index.ts';
import { packageFile } from '../../spec/package-file.ts';

export interface Sample {
  source: string;
  file: string;
  app: string;
  version: string;
  /** Component bytes by particle. */
  components: Record<string, Uint8Array>;
}

const SAMPLE_FOLDER: string = fileURLToPath(packageFile('samples/tally'));

/** Reads and builds the sample; a component that was built before comes out of the cache. */
export async function loadSample(cache: string): Promise<Sample> {
  const file = join(SAMPLE_FOLDER, 'Aetherfile');
  const source = readFileSync(file, 'utf8');
  const { name, version } = readAetherfile(source, file);
  const built = await buildComponent({ source: join(SAMPLE_FOLDER, 'web.ts'), cache });
  return { source, file: 'Aetherfile', app: name, version, components: { web: built.bytes } };
}

/** The same application under another version: new content, so a new deploy. */
export function withVersion(sample: Sample, version: string): Sample {
  return {
    ...sample,
    version,
    source: sample.source.replace(`"${sample.version}"`, `"${version}"`),
  };
}
