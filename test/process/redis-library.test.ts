import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "tsup";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RedisServer, startRedis } from "../tools/redis-server.js";
import { freePort } from "../tools/server-process.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** Connects, claims, closes, and prints which library was loaded and how long the process lived on. */
const program = `
  const { createRequire } = require("node:module");
  const context = { owner: "me", instance: "me", revision: undefined, signal: new AbortController().signal,
    logger: { debug() {}, info() {}, warn() {}, error() {} }, wantedKeys: () => [], onWake() {}, onClosed() {} };
  async function main({ redisLock }) {
    const said = { library: "none" };
    try {
      const connection = await redisLock({ url: process.env.REDIS_URL }).connect(context);
      const [claim] = await connection.claim([{ key: "key", mayTakeForgotten: true }]);
      await connection.release(["key"]);
      await connection.close();
      said.granted = claim.granted;
    } catch (error) { said.code = error.code; said.message = error.message; }
    const loaded = Object.keys(createRequire(__filename).cache).join();
    if (loaded.includes("/ioredis/built/")) said.library = "ioredis";
    else if (loaded.includes("/@redis/client/")) said.library = "redis";
    const closed = performance.now();
    process.on("exit", () => console.log(JSON.stringify({ ...said, livedOnMs: performance.now() - closed })));
  }
`;

let dir: string;
let server: RedisServer;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "gsp-library-"));
  await build({
    config: false,
    entry: { redis: join(root, "src/lock/redis/redis-lock.ts") },
    format: ["esm", "cjs"],
    target: "node20",
    outDir: join(dir, "dist"),
    outExtension: ({ format }) => ({ js: format === "esm" ? ".mjs" : ".cjs" }),
    external: ["ioredis", "redis"],
    silent: true,
  });
  writeFileSync(join(dir, "esm.cjs"), `${program} import("./dist/redis.mjs").then(main);`);
  writeFileSync(join(dir, "cjs.cjs"), `${program} main(require("./dist/redis.cjs"));`);
  server = await startRedis();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

function install(...libraries: string[]): void {
  const modules = join(dir, "node_modules");
  rmSync(modules, { recursive: true, force: true });
  mkdirSync(modules);
  for (const name of libraries) symlinkSync(join(root, "node_modules", name), join(modules, name));
}

async function start(format: string, env: NodeJS.ProcessEnv = {}) {
  const options = { env: { ...process.env, REDIS_URL: server.url, ...env } };
  const { stdout } = await run(process.execPath, [join(dir, `${format}.cjs`)], options);
  return JSON.parse(stdout);
}

describe.each(["esm", "cjs"])("redisLock({ url }) in the %s build", (format) => {
  it("takes ioredis where both libraries are installed, and leaves nothing that keeps the process alive", async () => {
    install("ioredis", "redis");
    expect(await start(format)).toMatchObject({
      library: "ioredis",
      granted: true,
      livedOnMs: expect.any(Number),
    });
    expect((await start(format)).livedOnMs).toBeLessThan(1_500);
  });

  it("takes redis where ioredis is missing, and leaves nothing that keeps the process alive", async () => {
    install("redis");
    expect(await start(format)).toMatchObject({ library: "redis", granted: true });
    expect((await start(format)).livedOnMs).toBeLessThan(1_500);
  });

  it("says what to install where both are missing", async () => {
    install();
    expect(await start(format)).toMatchObject({
      library: "none",
      code: "ERR_LOCK_CONFIG",
      message: expect.stringContaining("npm i ioredis"),
    });
  });

  it.each(["ioredis", "redis"])("takes the database of ?db= by %s", async (library) => {
    install(library);
    await server.command("flushall");

    expect(await start(format, { REDIS_URL: `${server.url}?db=3` })).toMatchObject({ granted: true });

    expect(await server.command("info", "keyspace")).toMatch(/^# Keyspace\r?\ndb3:keys=1,/);
  });

  it.each(["ioredis", "redis"])(
    "reaches a rediss:// URL by %s, with a CA that Node was given",
    async (library) => {
      install(library);
      const port = await freePort();
      const file = (name: string) => join(server.dir, name);
      const request =
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1";
      const output = ["-keyout", file("key.pem"), "-out", file("cert.pem")];
      execFileSync("openssl", [...request.split(" "), ...output], { stdio: "pipe" });
      const files = [
        "tls-cert-file",
        file("cert.pem"),
        "tls-key-file",
        file("key.pem"),
        "tls-ca-cert-file",
        file("cert.pem"),
      ];
      await server.command("config", "set", ...files, "tls-auth-clients", "no");
      await server.command("config", "set", "tls-port", String(port));
      const url = { REDIS_URL: `rediss://127.0.0.1:${port}` };

      expect(await start(format, { ...url, NODE_EXTRA_CA_CERTS: file("cert.pem") })).toMatchObject({
        granted: true,
      });
      expect(await start(format, url)).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    },
  );
});
