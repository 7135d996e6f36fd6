import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import { Bot } from "grammy";
import { parse as parseToml } from "smol-toml";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { chooseLock } from "../../examples/starter/src/lock.js";
import { defaultLeaseMs, leaseTiming } from "../../src/lease/trust-window.js";
import { asTelegramBot } from "../../src/polling/telegram-bot.js";
import { resolveOptions } from "../../src/resolve-options.js";

const path = (name: string) => fileURLToPath(new URL(`../../examples/platforms/${name}`, import.meta.url));
const read = (name: string) => readFileSync(path(name), "utf8");

/** What a stop needs behind the drain when nothing answers: the confirm (1 s at most) and the release. */
const behindSeconds = 1 + leaseTiming(defaultLeaseMs).releaseMs / 1_000;
const { drainTimeoutMs } = resolveOptions(asTelegramBot(new Bot("1:token")), {});
const stopSeconds = drainTimeoutMs / 1_000 + behindSeconds;

/** The program itself, so that signals reach Node.js: no shell, no npm between. */
const command = "node dist/bot.js";

/** Fails with what does not fit. Schemas name every key that may be used: a key with a slip is an error. */
function expectToFit(value: unknown, properties: object): void {
  const schema = {
    type: "object",
    properties,
    additionalProperties: false,
    required: Object.keys(properties),
  };
  const ajv = new Ajv({ allErrors: true, strict: false });

  ajv.validate(schema, value);
  expect(ajv.errors ?? []).toEqual([]);
}

const object = (properties: object) => ({
  type: "object",
  properties,
  additionalProperties: false,
  required: Object.keys(properties),
});
const longEnough = { type: "integer", minimum: stopSeconds };
const fixed = (value: unknown) => ({ const: value });

/** What the table of examples/platforms/README.md says of each file, and the page that goes with it. */
const pages: Record<string, string> = {
  "compose.yaml": "docker",
  "render.yaml": "render",
  "fly.toml": "fly",
  "railway.json": "railway",
  Procfile: "heroku",
  "kubernetes.yaml": "kubernetes",
  "ecosystem.config.cjs": "pm2",
  "bot.service": "systemd",
};
const rows = [...read("README.md").matchAll(/^\| `(\S+)` +\|[^|]*\| ([\w ]+?) +\|/gm)].map(
  ([, file = "", lock = ""]) => ({ file, lock }),
);

describe("the variables of each file, for the starter", () => {
  it("are looked at for each", () => {
    expect(rows.map(({ file }) => file)).toEqual(["Dockerfile", ...Object.keys(pages)]);
  });

  it.each(rows.filter(({ file }) => file in pages))(
    "$file with its page: the token, and $lock",
    async (row) => {
      const text = read(row.file) + read(`../../docs/platforms/${pages[row.file]}.md`);
      const names = new Set(text.match(/\b[A-Z][A-Z_]+\b/g));

      expect(names).toContain("BOT_TOKEN");
      for (const [word, name] of [
        ["Postgres", "DATABASE_URL"],
        ["Redis", "REDIS_URL"],
      ] as const) {
        if (!row.lock.includes(word)) continue;
        expect(names).toContain(name);
        const url = word === "Postgres" ? "postgres://user@host/bots" : "redis://host:6379";
        expect((await chooseLock({ [name]: url })).name).toBe(word.toLowerCase());
      }
      if (row.lock === "file") expect(read(row.file)).not.toMatch(/DATABASE_URL|REDIS_URL/);
    },
  );

  it("are read by nobody under another name", () => {
    const starter = read("../starter/src/bot.ts") + read("../starter/src/lock.ts");
    const given = [
      ...Object.keys(parse(read("compose.yaml")).services.bot.environment),
      ...parse(read("render.yaml")).services[0].envVars.map(({ key }: { key: string }) => key),
      ...Object.keys(parseToml(read("fly.toml")).env as object),
    ];
    // Of the platform's build, not of the bot.
    const unknown = given.filter((name) => name !== "NODE_VERSION" && !starter.includes(name));
    expect(given.length).toBeGreaterThan(5);
    expect(unknown).toEqual([]);
  });
});

it.each(["docs/quick-start", "docs/checklist", "docs/platforms/README", "examples/platforms/README"])(
  "%s.md says how long a stop takes",
  (name) => {
    const told = /`drainTimeoutMs` \((\d+) s\S*(?: by default\))? and (\d+) s/.exec(read(`../../${name}.md`));

    expect(told?.slice(1).map(Number)).toEqual([drainTimeoutMs / 1_000, behindSeconds]);
  },
);

describe("the Dockerfile", () => {
  const instructions = read("Dockerfile")
    .split("\n")
    .filter((line) => line && !line.startsWith("#"))
    .map((line) => line.split(/\s+(.*)/, 2) as [string, string]);
  const last = (name: string) => instructions.filter(([instruction]) => instruction === name).at(-1)?.[1];

  it("consists of instructions", () => {
    for (const [name] of instructions)
      expect(name).toMatch(/^(FROM|WORKDIR|COPY|RUN|ENV|USER|STOPSIGNAL|CMD)$/);
  });

  it("starts Node.js itself, in the exec form, as another user than root", () => {
    expect(JSON.parse(last("CMD") ?? "")).toEqual(command.split(" "));
    expect(last("STOPSIGNAL")).toBe("SIGTERM");
    expect(last("USER")).toBe("node");
  });
});

it("compose.yaml runs two instances of one bot on one Redis, which evicts nothing", () => {
  const { services, volumes } = parse(read("compose.yaml"));

  expectToFit(services.bot, {
    build: fixed("."),
    init: fixed(true),
    restart: fixed("unless-stopped"),
    stop_grace_period: { type: "string", pattern: "^\\d+s$" },
    deploy: object({ replicas: fixed(2) }),
    environment: object({
      BOT_TOKEN: { type: "string" },
      REDIS_URL: fixed("redis://redis:6379"),
      PORT: fixed("8080"),
    }),
    healthcheck: object({
      test: { type: "array", minItems: 4 },
      interval: { type: "string" },
      timeout: { type: "string" },
      start_period: { type: "string" },
    }),
    depends_on: object({ redis: object({ condition: fixed("service_healthy") }) }),
  });
  expect(Number.parseInt(services.bot.stop_grace_period, 10)).toBeGreaterThan(stopSeconds);
  expect(services.bot.healthcheck.test.join(" ")).toMatch(
    /^CMD node -e fetch\("http:\/\/127\.0\.0\.1:8080\/readyz"\)/,
  );
  expect(services.redis.command).toEqual(expect.arrayContaining(["--maxmemory-policy", "noeviction"]));
  expect(Object.keys(volumes)).toEqual(["redis"]);
});

it("render.yaml is a worker with Render's grace period", () => {
  const { services, databases } = parse(read("render.yaml"));

  expectToFit(services[0], {
    type: fixed("worker"),
    name: { type: "string" },
    runtime: fixed("node"),
    plan: { enum: ["starter", "standard"] },
    buildCommand: { type: "string" },
    startCommand: fixed(command),
    maxShutdownDelaySeconds: { ...longEnough, maximum: 300 },
    envVars: { type: "array" },
  });
  expect(services[0].envVars).toContainEqual({
    key: "DATABASE_URL",
    fromDatabase: { name: databases[0].name, property: "connectionString" },
  });
});

it("fly.toml sends SIGTERM, waits, and lets no proxy stop the bot", () => {
  const config = parseToml(read("fly.toml"));

  expectToFit(config, {
    app: { type: "string" },
    primary_region: { type: "string" },
    kill_signal: fixed("SIGTERM"),
    kill_timeout: fixed("20s"),
    build: object({ dockerfile: fixed("Dockerfile") }),
    env: object({ PORT: fixed("8080") }),
    processes: object({ bot: fixed(command) }),
    deploy: object({ strategy: fixed("rolling") }),
    restart: { type: "array", items: object({ policy: fixed("always"), processes: fixed(["bot"]) }) },
    checks: object({
      ready: object({
        type: fixed("http"),
        port: fixed(8080),
        path: fixed("/readyz"),
        interval: { type: "string" },
        timeout: { type: "string" },
        grace_period: { type: "string" },
        processes: fixed(["bot"]),
      }),
    }),
    vm: { type: "array" },
  });
  expect(Number.parseInt(String(config.kill_timeout), 10)).toBeGreaterThan(stopSeconds);
});

it("docs/platforms/fly.md scales a process group that fly.toml has", () => {
  // Without a name it is the group `app`: flyctl refuses it where `[processes]` has other names.
  const groups = Object.keys(parseToml(read("fly.toml")).processes as object);
  const texts = [read("fly.toml"), read("../../docs/platforms/fly.md")];
  const scaled = texts.flatMap((text) =>
    [...text.matchAll(/fly scale count ([\w=]+)/g)].map(([, what]) => what),
  );

  expect(scaled).toHaveLength(2);
  for (const what of scaled) expect(groups).toContain(what?.split("=")[0]);
});

it("railway.json drains, which Railway does not by default", () => {
  const { build, deploy } = JSON.parse(read("railway.json"));

  expect(build).toEqual({ builder: "RAILPACK", buildCommand: "npm run build" });
  expectToFit(deploy, {
    startCommand: fixed(command),
    healthcheckPath: fixed("/readyz"),
    healthcheckTimeout: { type: "integer", maximum: 300 },
    restartPolicyType: fixed("ALWAYS"),
    // Numbers: strings fail there (railwayapp/docs issue 1243).
    overlapSeconds: { type: "integer" },
    drainingSeconds: longEnough,
  });
});

it("Procfile has a worker and nothing that would have to bind a port", () => {
  expect(read("Procfile")).toBe(`worker: ${command}\n`);
});

it("kubernetes.yaml is ready in standby, and its rollout needs no pause", () => {
  const { apiVersion, kind, metadata, spec } = parse(read("kubernetes.yaml"));
  const { spec: pod, metadata: podMetadata } = spec.template;
  const probe = (probePath: string) => ({ httpGet: { path: probePath, port: "health" } });

  expect({ apiVersion, kind }).toEqual({ apiVersion: "apps/v1", kind: "Deployment" });
  expect(spec.selector.matchLabels).toEqual(podMetadata.labels);
  expect(metadata.labels).toEqual(podMetadata.labels);
  expect(spec.strategy).toEqual({ type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
  expectToFit(pod, {
    terminationGracePeriodSeconds: longEnough,
    containers: { type: "array", minItems: 1, maxItems: 1 },
  });
  const [container] = pod.containers;
  expect(container.command).toEqual(command.split(" "));
  expect(container.env).toContainEqual({
    name: "POD_NAME",
    valueFrom: { fieldRef: { fieldPath: "metadata.name" } },
  });
  expect(container.ports).toEqual([{ name: "health", containerPort: 8080 }]);
  expect(container.readinessProbe).toMatchObject(probe("/readyz"));
  expect(container.livenessProbe).toMatchObject(probe("/livez"));
});

it("ecosystem.config.cjs gives the bot the time that pm2 does not", () => {
  const { apps } = createRequire(import.meta.url)(path("ecosystem.config.cjs"));

  expectToFit(apps[0], {
    name: { type: "string" },
    script: fixed("dist/bot.js"),
    instances: fixed(2),
    exec_mode: fixed("cluster"),
    wait_ready: fixed(true),
    listen_timeout: { type: "integer" },
    kill_timeout: { type: "integer", minimum: stopSeconds * 1_000 },
  });
});

describe("bot.service", () => {
  const settings = Object.fromEntries(
    read("bot.service")
      .split("\n")
      .filter((line) => /^[A-Z]\w*=/.test(line))
      .map((line) => line.split(/=(.*)/, 2)),
  );

  it("sends SIGTERM to Node.js alone, waits, and starts the bot again whatever it ended with", () => {
    expect(settings).toMatchObject({
      Type: "exec",
      KillSignal: "SIGTERM",
      KillMode: "mixed",
      Restart: "always",
      StateDirectory: "bot",
    });
    expect(settings.ExecStart).toMatch(new RegExp(`/${command}$`));
    expect(Number(settings.TimeoutStopSec)).toBeGreaterThan(stopSeconds);
    // systemd's own limit, 5 starts in 10 s, would end a bot that crashes at its start, for good.
    expect(Number(settings.RestartSec)).toBeGreaterThanOrEqual(2);
  });

  it.runIf(existsSync("/usr/bin/systemd-analyze"))("is accepted by systemd-analyze", () => {
    const verify = () => execFileSync("systemd-analyze", ["verify", path("bot.service")], { stdio: "pipe" });

    expect(verify).not.toThrow();
  });
});
