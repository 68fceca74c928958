import { AetherError } from '../spec/error.ts';
import type { AnyWorkflow, Workflow, WorkflowContext, WorkflowOptions } from './core/contract.ts';
import { NotFoundError } from './core/errors.ts';

export interface Definition<I, O> extends Workflow<I, O> {
  readonly body: (ctx: WorkflowContext<I>, input: I) => Promise<O>;
  readonly options: WorkflowOptions<I>;
}

/** Declares a workflow. A run keeps the version that it began with. */
export function workflow<I, O>(
  name: string,
  body: (ctx: WorkflowContext<I>, input: I) => Promise<O>,
  options: WorkflowOptions<I> = {},
): Workflow<I, O> {
  const definition: Definition<I, O> = { name, version: options.version ?? '1', body, options };
  return Object.freeze(definition);
}

/** The workflows that an engine has the code of. */
export class Registry {
  readonly #versions = new Map<string, Map<string, Definition<unknown, unknown>>>();

  /** @throws AetherError ERR_ENGINE_OPTIONS */
  constructor(workflows: readonly AnyWorkflow[]) {
    for (const one of workflows) {
      if (typeof one !== 'object' || !('body' in one)) throw notOne(one);
      const versions = this.#versions.get(one.name) ?? new Map<string, never>();
      const listed: unknown = versions.get(one.version);
      if (listed !== undefined && listed !== one) throw listedTwice(one);
      versions.delete(one.version);
      versions.set(one.version, one as Definition<unknown, unknown>);
      this.#versions.set(one.name, versions);
    }
  }

  /** What new runs of a name take: the version listed last. @throws NotFoundError */
  latest(name: string): Definition<unknown, unknown> {
    const latest = [...(this.#versions.get(name)?.values() ?? [])].at(-1);
    if (latest !== undefined) return latest;
    const known = [...this.#versions.keys()].join(', ') || 'none';
    throw new NotFoundError(`no workflow "${name}" is registered`, {
      hint: `registered: ${known}`,
    });
  }

  /** Why an existing run cannot go on; undefined when its code is there. */
  missing({ name, version }: { name: string; version: string }): AetherError | undefined {
    try {
      this.exact(name, version);
      return undefined;
    } catch (error) {
      return error as AetherError;
    }
  }

  /** What an existing run needs. @throws AetherError ERR_ENGINE_VERSION_MISSING */
  exact(name: string, version: string): Definition<unknown, unknown> {
    const exact = this.#versions.get(name)?.get(version);
    if (exact !== undefined) return exact;
    const known = [...(this.#versions.get(name)?.keys() ?? [])].join(', ') || 'none';
    throw new AetherError(`workflow "${name}" version "${version}" is not registered`, {
      code: 'ERR_ENGINE_VERSION_MISSING',
      hint: `list it in EngineOptions.workflows beside the new one; registered: ${known}`,
    });
  }
}

function notOne(value: unknown): AetherError {
  const what = typeof value === 'object' ? 'an object' : `a ${typeof value}`;
  return new AetherError(`${what} in the list of workflows was not made by workflow()`, {
    code: 'ERR_ENGINE_OPTIONS',
    hint: "write workflow('name', async (ctx, input) => …), and list what it gives",
  });
}

function listedTwice({ name, version }: AnyWorkflow): AetherError {
  return new AetherError(`workflow "${name}" version "${version}" is listed with two bodies`, {
    code: 'ERR_ENGINE_OPTIONS',
    hint: "give one of them another name, or a version: workflow(name, body, { version: '2' })",
  });
}
