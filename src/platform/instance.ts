import { hostname } from "node:os";

/** Where this process runs, as far as its environment tells. */
export interface PlatformFacts {
  /** "render", "railway", …, or undefined on a plain machine. */
  readonly platform: string | undefined;
  /** Human-readable label of this process: not unique on every platform, so never an identity by itself. */
  readonly instance: string;
  /** Release of the bot's code: a commit or an image. */
  readonly revision: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

interface Platform {
  /** Variables that label an instance, the best first. */
  readonly labels: readonly string[];
  /** Variables that only tell where it is. */
  readonly markers?: readonly string[];
  /**
   * How long the old instance of a deploy lives on beside the new one, in milliseconds: what the documentation says,
   * and a margin for a new instance that is slow to become healthy. Undefined: instances share this machine.
   */
  readonly overlapMs?: number;
}

/** By the platforms' own documentation. The first whose variable is set. */
const platforms: Readonly<Record<string, Platform>> = {
  render: {
    labels: ["RENDER_INSTANCE_ID"],
    markers: ["RENDER"],
    // 60 s after the new one is healthy, then 30 s of grace: render.com, "How Render handles zero-downtime deploys".
    overlapMs: 120_000,
  },
  railway: {
    labels: ["RAILWAY_REPLICA_ID", "RAILWAY_DEPLOYMENT_ID"],
    markers: ["RAILWAY_ENVIRONMENT", "RAILWAY_PROJECT_ID"],
    // Until the new one is active, then overlapSeconds (0): docs.railway.com, "Deployment teardown".
    overlapMs: 60_000,
  },
  fly: {
    labels: ["FLY_MACHINE_ID"],
    markers: ["FLY_APP_NAME"],
    // Canary and blue-green, until checks pass: fly.io, "Deploy strategies". A rolling deploy has none.
    overlapMs: 60_000,
  },
  koyeb: {
    labels: ["KOYEB_INSTANCE_ID"],
    markers: ["KOYEB_APP_NAME"],
    // Until the new one is healthy; its length is not documented: koyeb.com, "Deployments".
    overlapMs: 120_000,
  },
  heroku: {
    labels: ["HEROKU_DYNO_ID", "DYNO"],
    // Restarts: 30 s. Preboot: the boot timeout and 2 minutes: devcenter.heroku.com, "Preboot", changelog 1121.
    overlapMs: 200_000,
  },
  kubernetes: {
    labels: ["POD_NAME"],
    markers: ["KUBERNETES_SERVICE_HOST"],
    // From the new pod's readiness, 30 s of grace: kubernetes.io, "Deployments", "Pod Lifecycle".
    overlapMs: 60_000,
  },
  "cloud-run": {
    labels: ["K_REVISION"],
    // Revisions overlap while traffic moves; 10 s of grace: cloud.google.com, "Container runtime contract".
    overlapMs: 60_000,
  },
  ecs: {
    labels: [],
    markers: ["ECS_CONTAINER_METADATA_URI_V4"],
    // Without a health check 40 s after the start, then 30 s of grace: docs.aws.amazon.com, "Rolling update".
    overlapMs: 120_000,
  },
  pm2: { labels: ["pm_id"] },
};

const revisions = [
  "RENDER_GIT_COMMIT",
  "RAILWAY_GIT_COMMIT_SHA",
  "FLY_IMAGE_REF",
  "HEROKU_SLUG_COMMIT",
  "KOYEB_GIT_SHA",
  "GIT_REV",
  "SOURCE_COMMIT",
  "npm_package_version",
];

export function platformFacts(env: Environment = process.env, pid: number = process.pid): PlatformFacts {
  const isSet = (variable: string) => Boolean(env[variable]);
  const labelled = Object.entries(platforms).find(([, { labels }]) => labels.some(isSet));
  const marked = Object.entries(platforms).find(([, { markers = [] }]) => markers.some(isSet));
  const label = labelled?.[1].labels.find(isSet) ?? "HOSTNAME";
  const prefix = labelled ? `${labelled[0]}:` : "";
  const revision = revisions.find(isSet);
  return {
    platform: (labelled ?? marked)?.[0],
    instance: `${prefix}${env[label] || hostname()}:${pid}`,
    revision: revision && env[revision],
  };
}

/** The platform that an instance's label names; undefined for a plain machine or a label of the user's own. */
export function platformOfLabel(instance: string): string | undefined {
  return Object.keys(platforms).find((name) => instance.startsWith(`${name}:`));
}

/** The default of `overlapMs` on a platform; 0: no overlap is known. */
export function overlapOfPlatform(platform: string | undefined): number {
  return (platform && platforms[platform]?.overlapMs) || 0;
}

/** The port that the platform has assigned (Render, Railway, Heroku, Koyeb, Cloud Run), as it is written there. */
export function portOfPlatform(env: Readonly<Record<string, string | undefined>> = process.env) {
  return env.PORT;
}

/** What `pg` takes where no password is given. */
export function passwordOfPlatform(env: Environment = process.env): string | undefined {
  return env.PGPASSWORD;
}

/** What Render tells a service about itself (render.com/docs/environment-variables), and the key that its owner adds. */
export interface RenderEnvironment {
  readonly serviceId: string | undefined;
  readonly apiKey: string | undefined;
  /** Made for a pull request. */
  readonly isPreview: boolean;
}

export function renderEnvironment(env: NodeJS.ProcessEnv = process.env): RenderEnvironment {
  return {
    serviceId: env.RENDER_SERVICE_ID || undefined,
    apiKey: env.RENDER_API_KEY || undefined,
    isPreview: env.IS_PULL_REQUEST === "true",
  };
}
