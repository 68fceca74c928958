import type { Route } from './app.ts';

/** Two routes collide when host and path are the same and a method is in both; no methods means all. */
export function collide(a: Route, b: Route): boolean {
  if (a.host !== b.host || a.path !== b.path) return false;
  return (
    a.methods.length === 0 ||
    b.methods.length === 0 ||
    a.methods.some((method) => b.methods.includes(method))
  );
}
