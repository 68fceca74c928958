/** One HTTP exchange as plain data: what passes between an ingress, the ring and a Particle. */
export interface HttpRequest {
  method: string;
  /** `http` or `https`. */
  scheme: string;
  /** Host and port as the client named them. */
  authority: string;
  /** Path and query, as sent. */
  path: string;
  /** Names in lower case; a name may repeat. */
  headers: [name: string, value: string][];
  body: Uint8Array;
}

export interface HttpResponse {
  status: number;
  headers: [name: string, value: string][];
  body: Uint8Array;
}
