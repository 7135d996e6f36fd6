import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { PostgresLockOptions } from "../../src/lock/postgres/options.js";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { harmlessUrls, urlMistakes } from "../tools/lock-mistakes.js";
import { connectPeer, until, untilNothingIsHeld } from "../tools/lock-peer.js";
import { type PgBouncer, startPgBouncer } from "../tools/pgbouncer.js";
import {
  type PostgresServer,
  role,
  serverUser,
  startPostgres,
  temporaryDirectory,
} from "../tools/postgres-server.js";

const directory = temporaryDirectory("gsp-certificate-");
const [cert, key] = [join(directory, "cert.pem"), join(directory, "key.pem")];
/** Takes TLS, and connections without. */
let server: PostgresServer;
let sessions: PgBouncer;
let transactions: PgBouncer;

beforeAll(async () => {
  execFileSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      key,
      "-out",
      cert,
      "-subj",
      "/CN=localhost",
      "-addext",
      "subjectAltName=DNS:localhost",
    ],
    { ...serverUser(), stdio: "pipe" },
  );
  server = await startPostgres({ settings: { ssl: "on", ssl_cert_file: cert, ssl_key_file: key } });
  for (const [name, password] of [
    ["other", "p%e4ss"],
    ["hash", "12#34"],
    ["slash", "p/ss"],
    ["percent", "p%ss"],
    ["blank", "p ss"],
  ]) {
    await server.query(`CREATE ROLE ${name} LOGIN PASSWORD '${password}'`);
  }
  [sessions, transactions] = await Promise.all([
    startPgBouncer(server, "session"),
    startPgBouncer(server, "transaction"),
  ]);
});
afterEach(() => untilNothingIsHeld(server));
afterAll(async () => {
  await Promise.all([sessions, transactions].map((pooler) => pooler?.[Symbol.asyncDispose]()));
  await server?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

/** Connects, and takes and gives back a key. */
async function use(options: PostgresLockOptions): Promise<void> {
  await using peer = await connectPeer(postgresLock(options));
  expect(await peer.claim("1")).toBeGreaterThan(0);
  await peer.connection.release(["1"]);
}

const failureOf = (options: PostgresLockOptions) =>
  connectPeer(postgresLock(options)).then(
    () => expect.unreachable("connected"),
    (error: Error) => error,
  );

describe("a connection string", () => {
  const ofPostgres = <T extends { readonly lock: string }>(rows: readonly T[]) =>
    rows.filter(({ lock }) => lock === "postgres");

  it.each(ofPostgres(urlMistakes))("with $mistake works when it is mended as told", async ({ mended }) => {
    await use({ connectionString: mended.replaceAll("HOST", `127.0.0.1:${server.port}`) });
  });

  it.each(ofPostgres(harmlessUrls))("with $mistake works as it is", async ({ given }) => {
    await use({ connectionString: given.replaceAll("HOST", `127.0.0.1:${server.port}`) });
  });

  it.each(ofPostgres(harmlessUrls).filter(({ given }) => given.includes("://bot:")))(
    "with $mistake works through poolers, which refuse unknown parameters",
    async ({ given }) => {
      const through = ({ port }: PgBouncer) => given.replaceAll("HOST", `127.0.0.1:${port}`);
      await use({ connectionString: through(sessions) });
      await use({ connectionString: through(transactions), mode: "lease" });
      await untilNothingIsHeld(server);
    },
  );

  it("with `?options=` is refused by a pooler, with the mend", async () => {
    const url = `${sessions.url}?options=-c%20search_path%3Dpublic`;
    expect(await failureOf({ connectionString: url })).toMatchObject({
      code: "ERR_LOCK_CONFIG",
      message: expect.stringContaining("Leave out the option `options` and `?options="),
    });
    await use({ connectionString: sessions.url });
  });
});

describe("TLS", () => {
  const url = (query = "") => `postgres://bot:bot-secret@localhost:${server.port}/bots${query}`;
  const byAddress = (query: string) => url(query).replace("localhost", "127.0.0.1");
  const encrypted = async () => {
    const rows = await server.query(
      "SELECT bool_and(ssl) AS ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'gsp1:%'",
    );
    return String(rows[0]?.ssl);
  };

  it.each([["?sslmode=require"], ["?sslmode=verify-full"], ["?sslmode=prefer"], ["?ssl=true"]])(
    "by %s refuses a certificate that nobody knows; each mend works",
    async (query) => {
      const error = await failureOf({ connectionString: url(query) });

      expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
      for (const mend of ["ssl: { ca }", "?sslrootcert=", "ssl: { rejectUnauthorized: false }"]) {
        expect(error.message).toContain(mend);
      }
      await use({ connectionString: url(query), ssl: { ca: readFileSync(cert, "utf8") } });
      await use({ connectionString: url(`?sslmode=verify-full&sslrootcert=${cert}`) });
      await use({ connectionString: url(query), ssl: { rejectUnauthorized: false } });
    },
  );

  it.each<[string, string, string]>([
    ["?sslmode=no-verify", "", "true"],
    ["?sslmode=require&uselibpqcompat=true", "", "true"],
    ["?sslmode=disable", "", "false"],
    ["", "", "false"],
  ])("by %s is as it says", async (query, _, expected) => {
    await using peer = await connectPeer(postgresLock({ connectionString: url(query) }));
    expect(await peer.claim("1")).toBeGreaterThan(0);
    expect(await encrypted()).toBe(expected);
  });

  it("by the option `ssl` is stronger than what the connection string says", async () => {
    const ca = readFileSync(cert, "utf8");
    await using peer = await connectPeer(
      postgresLock({ connectionString: url("?sslmode=disable"), ssl: { ca } }),
    );
    expect(await encrypted()).toBe("true");
    await peer.connection.close();
    await untilNothingIsHeld(server);

    await use({ connectionString: url("?sslmode=require"), ssl: false });
  });

  it("by an address that the certificate does not have is refused; the mend works", async () => {
    const query = `?sslmode=verify-full&sslrootcert=${cert}`;
    expect(await failureOf({ connectionString: byAddress(query) })).toMatchObject({
      code: "ERR_LOCK_CONFIG",
      message: expect.stringMatching(
        /a name that is in the server's certificate, or give `ssl: { servername }`/,
      ),
    });
    await use({ connectionString: url(query) });
    await use({
      connectionString: byAddress(""),
      ssl: { ca: readFileSync(cert, "utf8"), servername: "localhost" },
    });
  });

  it.each(["/nowhere/ca.pem", directory])(
    "with an sslrootcert that cannot be read (%s) is refused at once",
    async (path) => {
      const error = await failureOf({ connectionString: url(`?sslmode=verify-full&sslrootcert=${path}`) });

      expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
      expect(error.message).toContain("must be one that this process can read");
    },
  );

  it("that the server does not have is refused, also where the connection string asks for it; the mends work", async () => {
    const plain = await startPgBouncer(server, "session");
    const asked = `${plain.url}?sslmode=require`;

    expect((await failureOf({ connectionString: asked })).message).toContain("`?sslmode=disable`");
    await use({ connectionString: asked, ssl: false });
    await use({ connectionString: `${plain.url}?sslmode=disable` });
    await plain[Symbol.asyncDispose]();
  });

  it("that the server asks for is named; the mends work", async () => {
    const hba = join(server.directory, "data", "pg_hba.conf");
    const former = readFileSync(hba, "utf8");
    const isLetIn = () =>
      use({ connectionString: url() }).then(
        () => true,
        () => false,
      );
    writeFileSync(hba, `hostssl all bot all scram-sha-256\nhost all admin all scram-sha-256\n`);
    await server.query("SELECT pg_reload_conf()");
    await until("the new rules", async () => !(await isLetIn()));

    const error = await failureOf({ connectionString: url() });
    expect(error.message).toMatch(/`ssl: true`, or `\?sslmode=verify-full`/);
    await use({ connectionString: url(), ssl: { ca: readFileSync(cert, "utf8") } });
    await use({ connectionString: url(`?sslmode=verify-full&sslrootcert=${cert}`) });

    writeFileSync(hba, former);
    await server.query("SELECT pg_reload_conf()");
    await until("the former rules", isLetIn);
  });
});

it("a role whose password is wrong is told of special characters", async () => {
  const { user, database } = role;
  const error = await failureOf({ host: "127.0.0.1", port: server.port, user, database, password: "no" });

  expect(error.message).toContain("must be URL-encoded");
});
