import type { ClientConfig } from "pg";
import { describe, expect, expectTypeOf, it } from "vitest";
import { type PostgresLockOptions, resolveOptions } from "../../../../src/lock/postgres/options.js";
import { postgresLock } from "../../../../src/lock/postgres/postgres-lock.js";

const refused = (options: unknown, text: string) => {
  let error: unknown;
  try {
    postgresLock(options as PostgresLockOptions);
  } catch (caught) {
    error = caught;
  }
  expect(error).toMatchObject({ code: "ERR_INVALID_OPTION" });
  expect((error as Error).message).toContain(text);
};

describe("postgresLock(options)", () => {
  it.each([
    [{ connectionString: undefined }, "`connectionString` is undefined; is DATABASE_URL set?"],
    [{ connectionString: "" }, "`connectionString` is empty; is DATABASE_URL set?"],
    [{ connectionString: 5432 }, "`postgresLock.connectionString` to be a string, got 5432"],
    [{ connectionString: " " }, "`connectionString` is empty; is DATABASE_URL set?"],
    [{ connectionString: new URL("postgres://h/d") }, "to be a string, got an object"],
    [{ connectionString: "“postgres://h/d”" }, "in quotation marks"],
    [{ host: undefined }, "`host` is undefined; is PGHOST set?"],
    [{ conectionString: "postgres://" }, "Did you mean `connectionString`?"],
    [{ leasems: 1 }, "Did you mean `leaseMs`?"],
    [{ mode: "table" }, '"session" or "lease"'],
    [{ table: "leases" }, 'for `mode: "lease"`'],
    [{ mode: "lease", table: "" }, "a table's name"],
    [{ mode: "lease", table: "a.b.c" }, "a table's name"],
    [{ mode: "lease", table: "x".repeat(64) }, "a table's name"],
    [undefined, "an object of options"],
    ["postgres://bot:top-secret@host/bots", "an object of options"],
  ])("refuses %j", refused);

  it("shows no password in what it refuses", () => {
    try {
      postgresLock("postgres://bot:top-secret@host/bots" as never);
      expect.unreachable();
    } catch (error) {
      expect(String(error)).not.toContain("top-secret");
    }
  });

  it("takes nothing at all: pg reads the PG* variables", () => {
    expect(postgresLock({})).toMatchObject({ name: "postgres", leaseMs: 10_000 });
  });

  it("passes on to pg what is pg's, and nothing else", () => {
    const ssl = { ca: "…" };
    const { config } = resolveOptions({ host: "db", ssl, leaseMs: 5_000, mode: "lease", table: "t" });
    expect(config).toEqual({ host: "db", ssl });
  });

  it("takes any ClientConfig of pg", () => {
    expectTypeOf<ClientConfig>().toExtend<PostgresLockOptions>();
  });
});
