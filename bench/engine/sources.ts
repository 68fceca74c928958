import { aether } from './aether.ts';
import { ceiling } from './ceiling.ts';
import { dbos } from './peers/dbos.ts';
import { effect } from './peers/effect.ts';
import { openworkflow } from './peers/openworkflow.ts';
import { restate } from './peers/restate.ts';
import type { Peer, Source } from './subject.ts';

export const PEERS: readonly Peer[] = [restate, openworkflow, dbos, effect];
/** In the order they are measured and printed in. */
export const SOURCES: readonly Source[] = [aether, ...PEERS, ceiling];
