import { execFileSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { isSafePollingError } from "../../src/errors.js";
import type { PostgresLockOptions } from "../../src/lock/postgres/options.js";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { connectPeer, until, untilNothingIsHeld } from "../tools/lock-peer.js";
import {
  type PostgresServer,
  role,
  serverUser,
  startPostgres,
  temporaryDirectory,
} from "../tools/postgres-server.js";
import { freePort } from "../tools/server-process.js";

let server: PostgresServer;
let standby: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
  standby = await server.copyAsStandby();
});
afterAll(async () => {
  await standby?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});
afterEach(() => untilNothingIsHeld(server));

const config = (changes: PostgresLockOptions = {}): PostgresLockOptions => ({
  host: "127.0.0.1",
  port: server.port,
  ...role,
  ...changes,
});

const modes = ["session", "lease"] as const;

/** What connecting rejects with. */
async function failure(options: PostgresLockOptions): Promise<Error> {
  try {
    await using peer = await connectPeer(postgresLock(options));
    throw new Error(`connected as ${peer.owner}`);
  } catch (error) {
    return error as Error;
  }
}

it.each(modes)("refuses a wrong password, and shows none (%s)", async (mode) => {
  const error = await failure(config({ password: "wrong-password", mode }));

  expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
  expect(error.message).toContain("Check the user and the password");
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain("wrong-password");
});

it.each([
  ["an unknown database", { database: "nowhere" }, "Create the database"],
  ["an unknown user", { user: "nobody" }, "Check the user and the password"],
  ["no password", { password: "" }, "Give the password"],
  ["a server without TLS", { ssl: true }, "`ssl: false`"],
  ["a port that there is not", { port: 99_999 }, "Correct the port"],
  ["an unknown setting", { options: "-c statment_timeout=5s" }, "Correct the option `options`"],
  ["what is no setting", { options: "project=a" }, "Correct the option `options`"],
] as const)("refuses %s, with the fix", async (_, changes, fix) => {
  const error = await failure(config(changes));

  expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
  expect(error.message).toContain(fix);
});

it("refuses a connection string that is none, without showing it", async () => {
  const error = await failure({ connectionString: "postgres://bot:top-secret@[/bots" });

  expect(error).toMatchObject({ code: "ERR_INVALID_OPTION" });
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain("top-secret");
});

it("a server that is not there is trouble that may pass", async () => {
  const error = await failure(config({ port: await freePort() }));

  expect(error).toMatchObject({ code: "ECONNREFUSED" });
  expect(isSafePollingError(error)).toBe(false);
});

it("a server without a free connection is trouble that may pass", async () => {
  await server.query(`ALTER ROLE ${role.user} CONNECTION LIMIT 0`);

  const error = await failure(config());

  expect(error).toMatchObject({ code: "53300" });
  await server.query(`ALTER ROLE ${role.user} CONNECTION LIMIT -1`);
});

it.each(modes)("refuses a hot standby until it is promoted (%s)", async (mode) => {
  const options = config({ port: standby.port, mode });
  if (mode === "lease") standby = await restartAsStandby();
  const error = await failure({ ...options, port: standby.port });
  expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
  expect(error.message).toContain("Connect to the primary");
  await until("nothing left open", async () => {
    const left = await standby.query("SELECT pid FROM pg_stat_activity WHERE usename = 'bot'");
    return left.length === 0;
  });

  await standby.query("SELECT pg_promote()");
  await using peer = await connectPeer(postgresLock({ ...options, port: standby.port }));

  expect(await peer.claim("1")).toBeGreaterThan(0);
});

it("counts a promotion as the birth of the server's memory, not its start", async () => {
  standby = await restartAsStandby();
  const serverAge = async () => {
    const [row] = await standby.query(
      "SELECT extract(epoch FROM now() - pg_postmaster_start_time())::float8 * 1000 AS age",
    );
    return Number(row?.age);
  };
  await until("a standby of two seconds", async () => (await serverAge()) > 2_000);
  await server.query("CREATE TABLE IF NOT EXISTS replayed (); DROP TABLE replayed");
  await until("the replay", async () => {
    const [row] = await standby.query("SELECT now() - pg_last_xact_replay_timestamp() < '1 s' AS fresh");
    return row?.fresh;
  });

  await standby.query("SELECT pg_promote()");
  await using peer = await connectPeer(postgresLock(config({ port: standby.port })));

  expect(peer.connection.memoryAgeMs).toBeLessThan((await serverAge()) - 1_000);
});

it("sees the promotion of a quiet server, where the role may read the statistics", async () => {
  const role = config();
  await server.query(`GRANT pg_read_all_stats TO ${role.user}`);
  standby = await restartAsStandby();
  await until("a quiet standby of three seconds", async () => {
    const [row] = await standby.query(
      `SELECT now() - pg_postmaster_start_time() > '3 s'
       AND coalesce(now() - pg_last_xact_replay_timestamp() > '3 s', true) AS quiet`,
    );
    return row?.quiet;
  });

  await standby.query("SELECT pg_promote()");
  await using peer = await connectPeer(postgresLock(config({ port: standby.port })));
  await server.query(`REVOKE pg_read_all_stats FROM ${role.user}`);

  expect(peer.connection.memoryAgeMs).toBeLessThan(3_000);
});

async function restartAsStandby(): Promise<PostgresServer> {
  await standby[Symbol.asyncDispose]();
  return await server.copyAsStandby();
}

describe("over TLS", () => {
  const directory = temporaryDirectory("gsp-certificate-");
  let secure: PostgresServer;
  let ca = "";

  beforeAll(async () => {
    const certificate = makeCertificate(directory);
    ca = readFileSync(certificate.cert, "utf8");
    secure = await startPostgres({
      settings: { ssl: "on", ssl_cert_file: certificate.cert, ssl_key_file: certificate.key },
    });
  });
  afterAll(async () => {
    await secure?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  it("works with a certificate that is trusted, for the second connection too", async () => {
    const lock = postgresLock(config({ host: "localhost", port: secure.port, ssl: { ca } }));
    await using holder = await connectPeer(lock);
    await using standby = await connectPeer(lock);
    standby.wanted = ["1"];
    await holder.claim("1");
    await standby.claim("1");

    const encrypted = () =>
      secure.query(
        "SELECT pid FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'bot'",
      );
    await until("three encrypted connections", async () => (await encrypted()).length === 3);
    await holder.connection.close();

    await until("the wake-up", () => standby.wakes.length > 0);
    await until("the grant", () => standby.claim("1"));
  });

  it("refuses a certificate that is not, with the fix", async () => {
    const error = await failure(config({ host: "localhost", port: secure.port, ssl: true }));

    expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    expect(error.message).toContain("`ssl: { ca }`");
  });

  it("closes at once while the server is frozen", async () => {
    const peer = await connectPeer(
      postgresLock(config({ host: "localhost", port: secure.port, ssl: { ca } })),
    );
    secure.freeze();
    const outcome = expect(peer.connection.beat([])).rejects.toThrow("closed");

    await peer.connection.close();

    await outcome;
    secure.thaw();
  });
});

/** A certificate for localhost, signed by itself, in files that the server may read. */
function makeCertificate(directory: string): { readonly cert: string; readonly key: string } {
  const [cert, key] = [join(directory, "cert.pem"), join(directory, "key.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, ...subject],
    {
      ...serverUser(),
      stdio: "pipe",
    },
  );
  return { cert, key };
}

it("takes a password from a function, and a whole configuration of pg", async () => {
  const options = config({
    password: async () => role.password,
    application_name: "mine",
    statement_timeout: 5_000,
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
  });
  await using peer = await connectPeer(postgresLock(options));

  expect(await peer.claim("1")).toBeGreaterThan(0);
});

it("shows the password nowhere: not to the server, not in the log, not in what a broken connection reports", async () => {
  await using holder = await connectPeer(postgresLock(config()));
  await using peer = await connectPeer(postgresLock({ connectionString: server.url() }));
  await holder.claim("1");
  peer.wanted = ["1"];
  await peer.claim("1");

  const activity = await server.query("SELECT * FROM pg_stat_activity");
  await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bot'");
  await until("the end of the connection", () => peer.closures.length > 0);
  const beat = await peer.connection.beat([]).catch((error: unknown) => error);

  const seen = inspect([activity, peer.logs, peer.closures, beat], { depth: 10, showHidden: true });
  expect(seen).toContain("terminating connection");
  expect(seen).not.toContain(role.password);
});
