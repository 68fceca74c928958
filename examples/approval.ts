/**
 * Waiting a week for a human, then asking somebody else. No process has to run meanwhile.
 *
 *   npm run example -- approval [ask|approve|reject] [--patience DURATION] [--state FOLDER]
 *
 * `ask` asks and ends; `approve` and `reject` answer, days later if need be. See nobody answer with
 * `ask --patience 500ms`.
 */
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine, NotFoundError, TimeoutError, type Workflow, workflow } from 'aether/engine';
import { SqliteStore } from 'aether/engine/sqlite';

interface Request {
  what: string;
  /** How long each of them may think. */
  patience: string;
}

/** Stands for a mail. */
function tell(who: string, text: string): void {
  console.log(`to the ${who}: ${text}`);
}

export const approval: Workflow<Request, string> = workflow(
  'approval',
  async (ctx, { what, patience }: Request) => {
    for (const who of ['team lead', 'manager']) {
      await ctx.step(`ask the ${who}`, () => tell(who, `may we have ${what}?`));
      try {
        const yes = await ctx.receive<boolean>('answer', { timeout: patience });
        return yes ? `approved by the ${who}` : `rejected by the ${who}`;
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error;
        await ctx.step('remind', () => tell(who, `you did not answer within ${patience}`));
      }
    }
    return 'rejected, since nobody answered';
  },
);

const workflows: [typeof approval] = [approval];
/** For `aether up --workflows` and `aether wf replay --workflows`. */
export default workflows;

const ID = 'coffee-machine';
const ANSWERS: Record<string, boolean> = { approve: true, reject: false };

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { state: { type: 'string' }, patience: { type: 'string', default: '7d' } },
    allowPositionals: true,
  });
  const { state = join(tmpdir(), 'aether-approval'), patience } = values;
  const [command = 'ask'] = positionals;
  const answer = ANSWERS[command];
  if (answer === undefined && command !== 'ask') {
    console.error(`${command} is none of ask, approve and reject`);
    process.exitCode = 2;
    return;
  }
  mkdirSync(state, { recursive: true });

  const store = new SqliteStore(join(state, 'engine.db'));
  await using engine = await Engine.open({ store, workflows });
  if (answer === undefined) {
    const input = { what: 'a new coffee machine', patience };
    await engine.start(approval, input, { id: ID, onClosed: 'restart' });
  }
  const handle = engine.get<string>(ID);
  try {
    if (answer !== undefined) await handle.signal('answer', answer);
    console.log(await handle.result(answer === undefined ? { timeout: '2s' } : {}));
  } catch (error) {
    if (error instanceof NotFoundError) {
      console.log('nobody waits for an answer: ask first');
    } else if (error instanceof TimeoutError) {
      const [waits] = (await handle.describe()).pending;
      const until = new Date(waits?.nextAttemptAt ?? 0).toISOString();
      console.log(`waits until ${until}: answer with approve or reject`);
    } else throw error;
  }
}

if (import.meta.main) await main();
