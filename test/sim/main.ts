/**
 * `node test/sim/main.ts [--suite NAME] [--nodes N] [--seed S] [--seeds N] [--json] [--record]`
 *
 * Runs `test/sim/NAME.ts`: the cores that ship, on a virtual clock and a network that loses, delays and splits.
 * Exit status: 0 every bound held, 1 one did not, 2 one could not be asserted (or usage).
 */
import { simulate } from './simulate.ts';

process.exitCode = await simulate(process.argv.slice(2));
