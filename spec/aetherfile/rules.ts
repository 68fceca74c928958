/** What an app must keep beyond its schema: names that lead somewhere, text that means something. */
import { isIPv4, isIPv6 } from 'node:net';
import { type Path, labelText } from '../cue/diagnostic.ts';
import type { App, Grant, Particle, Rollout, Route, Schedule } from './app.ts';
import { cronProblem } from './cron.ts';
import { collide } from './route.ts';
import { suggest } from './suggest.ts';

export interface Violation {
  code: string;
  path: Path;
  message: string;
  /** Made when it is read: looking for what was meant takes as long as the app has names. */
  help: () => string;
}

type Report = (code: string, path: Path, message: string, help: string | (() => string)) => void;

/** Everything that is wrong, in no order. */
export function violations(app: App): Violation[] {
  const found: Violation[] = [];
  const report: Report = (code, path, message, help) => {
    const made = typeof help === 'string' ? () => help : help;
    found.push({ code: `ERR_AETHERFILE_${code}`, path, message, help: made });
  };
  const routes = new Map<string, TakenRoute[]>();
  for (const [name, particle] of Object.entries(app.particles)) {
    const path = ['particles', name];
    particle.grants.forEach((grant, i) => checkGrant(app, grant, [...path, 'grants', i], report));
    checkPeers(app, particle, [...path, 'network', 'ingress'], report);
    checkRollout(particle.rollout, [...path, 'rollout', 'steps'], report);
    particle.schedules.forEach((each, i) => checkSchedule(each, [...path, 'schedules', i], report));
    particle.routes.forEach((each, i) => checkRoute(each, [...path, 'routes', i], routes, report));
  }
  return found;
}

function checkGrant(app: App, grant: Grant, path: Path, report: Report): void {
  switch (grant.kind) {
    case 'kv':
      if (!Object.hasOwn(app.kv, grant.bucket)) {
        const help = declare(
          grant.bucket,
          Object.keys(app.kv),
          `kv: ${labelText(grant.bucket)}: {}`,
        );
        report(
          'UNKNOWN_BUCKET',
          [...path, 'bucket'],
          `no bucket ${grant.bucket} is declared in kv`,
          help,
        );
      }
      break;
    case 'blob':
      if (!Object.hasOwn(app.blob, grant.container)) {
        const help = declare(
          grant.container,
          Object.keys(app.blob),
          `blob: ${labelText(grant.container)}: {}`,
        );
        const message = `no container ${grant.container} is declared in blob`;
        report('UNKNOWN_CONTAINER', [...path, 'container'], message, help);
      }
      break;
    case 'secret':
      if (!app.secrets.includes(grant.name)) {
        const help = declare(grant.name, app.secrets, `secrets: ["${grant.name}"]`);
        report(
          'UNKNOWN_SECRET',
          [...path, 'name'],
          `no secret ${grant.name} is declared in secrets`,
          help,
        );
      }
      break;
    case 'invoke':
      checkParticle(app, grant.particle, [...path, 'particle'], report);
      break;
    case 'http':
    case 'workflow':
      break;
  }
}

function checkParticle(app: App, name: string, path: Path, report: Report): void {
  if (Object.hasOwn(app.particles, name)) return;
  const help = declare(name, Object.keys(app.particles), `particles: ${labelText(name)}: { … }`);
  report('UNKNOWN_PARTICLE', path, `the app has no particle ${name}`, help);
}

function declare(name: string, declared: readonly string[], line: string): () => string {
  return () => {
    const near = suggest(name, declared);
    return near === undefined
      ? `declare it in the app: ${line}`
      : `did you mean ${near}? Or declare it: ${line}`;
  };
}

function checkPeers(app: App, { network }: Particle, path: Path, report: Report): void {
  network.ingress.forEach(({ from }, rule) => {
    from.forEach((peer, i) => {
      const place = [...path, rule, 'from', i];
      if ('particle' in peer) checkParticle(app, peer.particle, [...place, 'particle'], report);
      else if ('cidr' in peer && !isCidr(peer.cidr)) {
        const help = 'write an address and the length of its prefix: "10.0.0.0/8", "2001:db8::/32"';
        report(
          'CIDR',
          [...place, 'cidr'],
          `"${peer.cidr.slice(0, 60)}" is no range of addresses`,
          help,
        );
      }
    });
  });
}

function isCidr(cidr: string): boolean {
  const [address = '', length = ''] = cidr.split('/');
  const bits = Number(length);
  return (isIPv4(address) && bits <= 32) || (isIPv6(address) && bits <= 128);
}

function checkRollout(rollout: Rollout, path: Path, report: Report): void {
  if (rollout.strategy !== 'canary') return;
  const weights = rollout.steps.map(({ weight }) => weight);
  const stuck = weights.findIndex((weight, i) => i > 0 && weight <= (weights[i - 1] as number));
  if (stuck >= 0) {
    const message = `weight ${weights[stuck]} does not rise above the ${weights[stuck - 1]} before it`;
    const help = 'let the weights rise from step to step, up to 100';
    report('CANARY_WEIGHTS', [...path, stuck, 'weight'], message, help);
  } else if (weights.at(-1) !== 100) {
    const message = `the last step sends ${weights.at(-1)} % to the new version, not 100`;
    const help = 'end with a step of weight 100: {weight: 100}';
    report('CANARY_WEIGHTS', [...path, weights.length - 1, 'weight'], message, help);
  }
}

function checkSchedule({ cron, zone }: Schedule, path: Path, report: Report): void {
  const problem = cronProblem(cron);
  if (problem !== undefined) {
    const help = 'write minute, hour, day of month, month, day of week: "15 2 * * 1-5"';
    report('CRON', [...path, 'cron'], `the schedule cannot be kept: ${problem}`, help);
  }
  if (!isZone(zone)) {
    const help = 'write a name of the IANA time zone database: "UTC", "Europe/Lisbon"';
    report('ZONE', [...path, 'zone'], `"${zone.slice(0, 60)}" is no time zone`, help);
  }
}

function isZone(zone: string): boolean {
  if (zone === 'UTC') return true;
  // An offset such as "+01:00" would pass below, and it is no zone: it knows no summer time.
  if (!/^[A-Za-z]/.test(zone)) return false;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

interface TakenRoute {
  route: Route;
  owner: string;
}

function checkRoute(
  route: Route,
  path: Path,
  taken: Map<string, TakenRoute[]>,
  report: Report,
): void {
  // Only routes of one host and path can collide: looking among these keeps the work in proportion to the text.
  const key = `${route.host} ${route.path}`;
  const others = taken.get(key) ?? [];
  const other = others.find((each) => collide(each.route, route));
  if (other !== undefined) {
    const message = `${route.host}${route.path} is already a route of ${other.owner}`;
    report('ROUTE_TAKEN', path, message, 'give the two routes different hosts, paths or methods');
  }
  taken.set(key, [...others, { route, owner: String(path[1]) }]);
}
