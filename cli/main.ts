#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
import { runProgram } from './program.ts';

// The reader of a pipe may have seen enough (`aether ps | head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const argv = process.argv.slice(2);
try {
  process.exitCode = await runProgram(argv);
} catch (error) {
  const { Context } = await import('./context.ts');
  const { exitCodeOf } = await import('./io/exit-code.ts');
  new Context({ json: argv.includes('--json') }).out.error(error);
  process.exitCode = exitCodeOf(error);
}
