/** What a component in TypeScript finds around it, for editors: the host's interfaces and the web's. */
declare module 'wasi:keyvalue/store@0.2.0-draft' {
  export interface Bucket {
    get(key: string): Uint8Array | undefined;
    set(key: string, value: Uint8Array): void;
    delete(key: string): void;
    exists(key: string): boolean;
  }
  /** @throws when the bucket is not granted. */
  export function open(name: string): Bucket;
}

declare function addEventListener(
  type: 'fetch',
  listener: (event: {
    request: Request;
    respondWith(answer: Response | Promise<Response>): void;
  }) => void,
): void;
