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

// First hit wins. Names from the platforms' own documentation (Render, Railway, Fly, Koyeb, Heroku, Cloud Run, pm2).
const labels: readonly { readonly platform: string | undefined; readonly names: readonly string[] }[] = [
  { platform: "render", names: ["RENDER_INSTANCE_ID"] },
  { platform: "railway", names: ["RAILWAY_REPLICA_ID", "RAILWAY_DEPLOYMENT_ID"] },
  { platform: "fly", names: ["FLY_MACHINE_ID"] },
  { platform: "koyeb", names: ["KOYEB_INSTANCE_ID"] },
  { platform: "heroku", names: ["HEROKU_DYNO_ID", "DYNO"] },
  { platform: "kubernetes", names: ["POD_NAME"] },
  { platform: "cloud-run", names: ["K_REVISION"] },
  { platform: "pm2", names: ["pm_id"] },
  { platform: undefined, names: ["HOSTNAME"] },
];

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
  const found = labels.find(({ names }) => names.some((name) => env[name]));
  const name = found?.names.find((candidate) => env[candidate]);
  const label = name && env[name];
  const prefix = found?.platform ? `${found.platform}:` : "";
  const revision = revisions.map((candidate) => env[candidate]).find(Boolean);
  return {
    platform: found?.platform ?? platformByMarker(env),
    instance: `${prefix}${label || hostname()}:${pid}`,
    revision,
  };
}

/** The platform that an instance's label names; undefined for a plain machine or a label of the user's own. */
export function platformOfLabel(instance: string): string | undefined {
  return labels.find(({ platform }) => platform && instance.startsWith(`${platform}:`))?.platform;
}

function platformByMarker(env: Environment): string | undefined {
  if (env.RENDER) return "render";
  if (env.RAILWAY_ENVIRONMENT || env.RAILWAY_PROJECT_ID) return "railway";
  if (env.FLY_APP_NAME) return "fly";
  if (env.KOYEB_APP_NAME) return "koyeb";
  if (env.KUBERNETES_SERVICE_HOST) return "kubernetes";
  if (env.ECS_CONTAINER_METADATA_URI_V4) return "ecs";
  return undefined;
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
