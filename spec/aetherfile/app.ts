/**
 * What an Aetherfile says once it has been read, checked against the schema and its defaults filled in.
 * One shape for each definition of `schema.cue`, which is the norm. Durations and sizes keep the text that was written.
 */
export interface App {
  aether: 'v1alpha1';
  name: string;
  version: string;
  particles: Record<string, Particle>;
  kv: Record<string, { replicas: number; ttl?: string; quota: number | string }>;
  blob: Record<string, { quota: number | string }>;
  secrets: string[];
}

export interface Particle {
  name: string;
  source: Source;
  world: string;
  grants: Grant[];
  placement: Placement;
  scale: Scale;
  limits: Limits;
  routes: Route[];
  network: Network;
  env: Record<string, string>;
  config: Record<string, string>;
  schedules: Schedule[];
  health?: Health;
  rollout: Rollout;
  labels: Record<string, string>;
}

export type Source =
  | { path: string }
  | { oci: string }
  | { build: { command: string[]; output: string; watch: string[] } };

export type Grant =
  | { kind: 'http'; allow: string[]; methods: string[]; tls: boolean }
  | { kind: 'kv'; bucket: string; keys: string[]; ops: KvOp[] }
  | {
      kind: 'blob';
      container: string;
      prefix: string;
      ops: ('read' | 'write' | 'delete' | 'list')[];
    }
  | { kind: 'secret'; name: string; as: string }
  | { kind: 'invoke'; particle: string; export: string; budget: string }
  | { kind: 'workflow'; name: string; ops: ('start' | 'signal' | 'query' | 'cancel')[] };

export type KvOp = 'get' | 'set' | 'delete' | 'list' | 'atomic';

export interface Placement {
  regions: string[];
  zones: string[];
  require: Record<string, string | boolean | number>;
  avoid: string[];
  spread: 'none' | 'node' | 'zone' | 'region';
}

export interface Scale {
  min: number;
  max: number;
  target: { metric: 'inflight' | 'rps' | 'cpu' | 'queue'; value: number };
  cooldown: string;
}

export interface Limits {
  memory: number | string;
  time: string;
  fuel?: number;
  instances: number;
  outbound: number;
}

export interface Route {
  host: string;
  path: string;
  methods: string[];
  strip: boolean;
  rate?: { per: string; limit: number };
}

export interface Health {
  export: string;
  path: string;
  every: string;
  timeout: string;
  failAfter: number;
}

export interface Abort {
  errorRate: number;
  p99?: string;
}

export type Rollout =
  | { strategy: 'canary'; steps: { weight: number; hold: string }[]; abort: Abort }
  | { strategy: 'rolling'; surge: number; abort: Abort };

export interface Schedule {
  cron: string;
  zone: string;
  call: string;
  overlap: 'skip' | 'buffer-one' | 'cancel-other' | 'allow-all';
  catchup: string;
  jitter: string;
  paused: boolean;
}

export type Peer = { particle: string } | { cidr: string } | { world: true };

export interface Network {
  ingress: {
    from: Peer[];
    ports: number[];
    methods: string[];
    paths: string[];
    action: 'allow' | 'deny' | 'audit';
  }[];
  mtls: 'required' | 'permissive';
  mode: 'enforce' | 'audit';
}
