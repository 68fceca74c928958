#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
const NODE_MAJOR_MIN = 24;

// The reader of a pipe may have seen enough (`aether ps | head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

if (Number(process.versions.node.split('.')[0]) < NODE_MAJOR_MIN) {
  // Nothing else can be imported: an older Node does not know what the modules ask of it.
  process.stderr.write(
    `error ERR_NODE_VERSION: Aether needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.versions.node}\n` +
      'hint: put a newer Node first on PATH\n',
  );
  process.exit(1);
}

const argv = process.argv.slice(2);
try {
  const { runProgram } = await import('./program.ts');
  process.exitCode = await runProgram(argv);
} catch (error) {
  const { Context } = await import('./context.ts');
  const { exitCodeOf } = await import('./io/exit-code.ts');
  new Context({ json: argv.includes('--json') }).out.error(error);
  process.exitCode = exitCodeOf(error);
}
