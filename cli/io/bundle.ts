/** An app on its way to the lattice: its Aetherfile and the component of each Particle. */
import type { Bundle, Submitted } from '../../particle/index.ts';
import type { ControlClient } from './control-client.ts';

/**
 * Submits an app; the deploy then goes on by itself.
 *
 * @throws ApiError with the node's refusal, before anything was stored; ApiUnreachableError
 */
export async function postBundle(
  client: ControlClient,
  bundle: Bundle,
  signal?: AbortSignal,
): Promise<Submitted> {
  const form = new FormData();
  form.set('aetherfile', new Blob([bundle.source]), bundle.file);
  for (const [particle, component] of Object.entries(bundle.components)) {
    if (typeof component === 'string') form.set(particle, component);
    else form.set(particle, new Blob([component as Uint8Array<ArrayBuffer>]), `${particle}.wasm`);
  }
  const encoded = new Response(form);
  return client.json<Submitted>('/apps', {
    method: 'POST',
    headers: { 'content-type': encoded.headers.get('content-type') ?? '' },
    body: new Uint8Array(await encoded.arrayBuffer()),
    ...(signal === undefined ? {} : { signal }),
  });
}
