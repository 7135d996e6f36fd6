import { Redis } from "ioredis";
import pg from "pg";
import { createClientPool } from "redis";
import { describe, expect, it } from "vitest";
import type { LockBackend } from "../../../src/lock/backend.js";
import { postgresLock } from "../../../src/lock/postgres/postgres-lock.js";
import { redisLock } from "../../../src/lock/redis/redis-lock.js";
import { harmlessUrls, type Mistake, urlMistakes } from "../../tools/lock-mistakes.js";

const lockWith = (lock: Mistake["lock"], url: string): LockBackend => {
  const address = url.replaceAll("HOST", "127.0.0.1:1");
  return lock === "redis" ? redisLock({ url: address }) : postgresLock({ connectionString: address });
};

function thrown(make: () => unknown): Error {
  try {
    make();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

describe("a URL that only a human can mend", () => {
  it.each(urlMistakes)("$lock: $mistake is told at once, with the mend", ({ lock, given, told }) => {
    const error = thrown(() => lockWith(lock, given));

    expect(error).toMatchObject({ code: "ERR_INVALID_OPTION" });
    expect(error.message).toContain(told);
    expect(error.message).not.toMatch(/bot-secret|12#34|p\/ss|p%e4ss/);
  });

  it.each(urlMistakes)("$lock: $mistake, mended as told, is taken", ({ lock, mended }) => {
    expect(lockWith(lock, mended).location).toMatch(/^127\.0\.0\.1:1/);
  });

  it.each(harmlessUrls)("$lock: $mistake is taken as it is", ({ lock, given }) => {
    expect(lockWith(lock, given).location).toMatch(/^127\.0\.0\.1:1/);
  });
});

describe("the place of the lock, for the first log line", () => {
  it.each([
    [
      { connectionString: "postgres://bot:secret@db.example.com/bots?sslmode=require" },
      "db.example.com:5432/bots",
    ],
    [{ connectionString: "postgres://bot:secret@db.example.com:6543" }, "db.example.com:6543/bot"],
    [{ connectionString: "postgres://bot:secret@/bots?host=/run/postgresql" }, "/run/postgresql:5432/bots"],
    [{ connectionString: "postgres://bot:secret@%2Frun%2Fpostgresql/bots" }, "/run/postgresql:5432/bots"],
    [{ connectionString: "socket://bot:secret@/run/postgresql?db=bots" }, "/run/postgresql:5432/bots"],
    [{ connectionString: "postgres://bot:secret@db.example/bots?host=&port=" }, "db.example:5432/bots"],
    [{ connectionString: "/run/postgresql bots" }, "/run/postgresql bots"],
    [{ host: "db", database: "bots", user: "bot", password: "secret" }, "db:5432/bots"],
    [{}, "$PGHOST:5432/$PGDATABASE"],
  ])("of %j", (options, location) => {
    expect(postgresLock(options).location).toBe(location);
  });
});

it.each([
  ["redis://:secret@r.example.com:6380/3", "r.example.com:6380/3"],
  ["redis://r.example.com?db=3", "r.example.com:6379/3"],
  ["redis://r.example.com/0", "r.example.com:6379"],
])("the place of a Redis lock has the database's number: %s", (url, location) => {
  expect(redisLock({ url }).location).toBe(location);
});

describe("a client in the place of settings", () => {
  it.each<[string, () => unknown, string]>([
    ["a Pool of pg", () => postgresLock({ client: new pg.Pool() } as never), "not a Pool or a Client"],
    ["a Pool of pg alone", () => postgresLock(new pg.Pool() as never), "not a Pool or a Client"],
    ["a Client of pg alone", () => postgresLock(new pg.Client() as never), "not a Pool or a Client"],
    [
      "a client of Redis alone",
      () => redisLock(new Redis({ lazyConnect: true }) as never),
      "redisLock({ client })",
    ],
    ["a pool of node-redis", () => redisLock({ client: createClientPool({}) as never }), "give it `url`"],
  ])("%s is told from settings", (_, make, told) => {
    const error = thrown(make);

    expect(error).toMatchObject({ code: "ERR_INVALID_OPTION", message: expect.stringContaining(told) });
  });
});
