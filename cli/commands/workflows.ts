/** `aether wf`: workflows and their history. */
import type { Context } from '../context.ts';
import { segment } from '../io/control-client.ts';
import { EXIT } from '../io/exit-code.ts';
import { table } from '../io/table.ts';

/** `WorkflowSummary` of engine.d.ts with its outcome, as far as it is shown. */
export interface WorkflowSummary {
  id: string;
  name: string;
  version: string;
  status: string;
  startedAt: number;
  closedAt?: number;
  events: number;
  pending: { kind: string; name: string; attempt: number; lastError?: string }[];
  result?: unknown;
  error?: Failure & { hint?: string; cause?: Failure };
}

interface Failure {
  code?: string;
  message: string;
}

export interface WorkflowHistory {
  events: { seq: number; at: number; kind: string; name?: string; payload?: unknown }[];
}

/** States in which a run goes on. */
export function isOpen({ status }: Pick<WorkflowSummary, 'status'>): boolean {
  return ['running', 'sleeping', 'stuck', 'quarantined'].includes(status);
}

export async function listWorkflows(
  { client, out }: Context,
  options: { name?: string; status?: string; limit?: number },
): Promise<void> {
  const answer = await client.json<{ workflows: WorkflowSummary[] }>('/workflows', {
    query: { ...options },
  });
  out.result(answer, () =>
    table(
      [
        { title: 'ID', cell: ({ id }) => id },
        { title: 'WORKFLOW', cell: ({ name }) => name },
        { title: 'STATUS', cell: ({ status }) => paintStatus(status, out.paint) },
        { title: 'STARTED', cell: ({ startedAt }) => new Date(startedAt).toISOString() },
        { title: 'TOOK', cell: took, align: 'right' },
        { title: 'EVENTS', cell: ({ events }) => String(events), align: 'right' },
        { title: 'WAITS FOR', cell: waitsFor },
      ],
      answer.workflows,
      out.paint.dim,
    ),
  );
}

/** With `wait`, waits that long for the end; a run that is still open then is exit code 8. */
export async function showWorkflow(
  { client, out, interrupted: signal }: Context,
  id: string,
  { wait }: { wait?: string },
): Promise<number> {
  const path = `/workflows/${segment(id)}`;
  const summary = await client.json<WorkflowSummary>(path, {
    query: { wait },
    signal,
    idleTimeoutMs: 0,
  });
  const history = await client.json<WorkflowHistory>(`${path}/history`, { signal });
  out.result({ ...summary, history: history.events }, () => {
    const { paint } = out;
    const lines = [
      `${paint.bold(summary.id)}  ${summary.name} ${summary.version}  ${paintStatus(summary.status, paint)}`,
      table(
        [
          { title: 'SEQ', cell: ({ seq }) => String(seq), align: 'right' },
          {
            title: 'AT',
            cell: ({ at }) => `+${((at - summary.startedAt) / 1000).toFixed(3)} s`,
            align: 'right',
          },
          { title: 'EVENT', cell: ({ kind }) => kind },
          { title: 'NAME', cell: ({ name }) => name ?? '' },
        ],
        history.events,
        paint.dim,
      ),
    ];
    if (summary.pending.length > 0) lines.push(`waits for: ${waitsFor(summary)}`);
    if (summary.result !== undefined) lines.push(`result: ${JSON.stringify(summary.result)}`);
    if (summary.error !== undefined) {
      lines.push(`error ${summary.error.code ?? ''}: ${summary.error.message}`);
    }
    return lines.join('\n');
  });
  return wait !== undefined && isOpen(summary) ? EXIT.stillRunning : EXIT.ok;
}

/** Writes the history as it was recorded, for `aether wf replay`. Without `run`: of the newest run. */
export async function exportHistory(
  { client, out }: Context,
  id: string,
  query: { run?: string },
): Promise<void> {
  const history = await client.json(`/workflows/${segment(id)}/history`, { query: { ...query } });
  out.result(history, () => JSON.stringify(history, null, 1));
}

function waitsFor({ pending }: WorkflowSummary): string {
  return pending
    .map(({ name, attempt, lastError }) =>
      attempt > 1
        ? `${name} (try ${attempt}${lastError === undefined ? '' : `: ${lastError}`})`
        : name,
    )
    .join(', ');
}

function took({ startedAt, closedAt }: WorkflowSummary): string {
  return closedAt === undefined ? '' : `${((closedAt - startedAt) / 1000).toFixed(2)} s`;
}

function paintStatus(status: string, paint: Context['out']['paint']): string {
  if (status === 'completed') return paint.green(status);
  return ['running', 'sleeping', 'continued'].includes(status)
    ? paint.cyan(status)
    : paint.red(status);
}
