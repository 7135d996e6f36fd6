import { describe, expect, it } from "vitest";
import { toHolder } from "../../../src/lock/redis/connection.js";
import { checkServer, parseInfo, refusalFor, startOfServer } from "../../../src/lock/redis/server-checks.js";

describe("a holder's record", () => {
  it("gives the fields that we know, of the types that we expect", () => {
    const record = { token: 7, owner: "a:1", v: 2, instance: "a", leaseMs: "long", since: 5, colour: "red" };
    expect(toHolder(JSON.stringify(record))).toEqual({ token: 7, owner: "a:1", instance: "a", since: 5 });
  });

  it.each(["", "{", "null", "7", '"text"', "[]"])("may be garbage: %s", (record) => {
    expect(toHolder(record)).toEqual({});
  });
});

describe("what INFO tells", () => {
  const info = parseInfo("# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:61\r\n\r\nrole:master\r\n");

  it("is read line by line", () => {
    expect(info).toEqual({ redis_version: "7.0.15", uptime_in_seconds: "61", role: "master" });
    expect(parseInfo(null)).toEqual({});
  });

  it("gives a start that is not too early: the uptime is in whole seconds", () => {
    expect(startOfServer(info, 100_000)).toBe(40_000);
    expect(startOfServer({ uptime_in_seconds: "0" }, 100_000)).toBe(100_000);
    expect(startOfServer({}, 100_000)).toBe(0);
  });

  it("refuses a Redis that is too old", () => {
    expect(() => checkServer({ redis_version: "5.0.14" })).toThrow(/Redis 5.0.14 is too old/);
    expect(checkServer({ redis_version: "6.0.0" })).toEqual([]);
    expect(checkServer({ redis_version: "10.0.0" })).toEqual([]);
    expect(checkServer({})).toEqual([]);
  });

  it("warns of a replica and of a memory that forgets anything", () => {
    for (const role of ["slave", "replica", "active-replica"]) {
      expect(checkServer({ role })).toEqual([expect.stringContaining(`"${role}"`)]);
    }
    expect(checkServer({ role: "active-replica" })).toEqual([
      expect.stringContaining("several nodes take writes"),
    ]);
    // Dragonfly in cache mode.
    expect(checkServer({ maxmemory_policy: "eviction", maxmemory: "1000" })).toEqual([
      expect.stringContaining("eviction"),
    ]);
    const policy = { maxmemory_policy: "allkeys-lfu" };
    expect(checkServer({ ...policy, maxmemory: "1000" })).toEqual([expect.stringContaining("allkeys-lfu")]);
    expect(checkServer(policy)).toHaveLength(1);
    expect(checkServer({ ...policy, maxmemory: "0" })).toEqual([]);
    expect(checkServer({ maxmemory_policy: "volatile-lru", maxmemory: "1000" })).toEqual([]);
  });
});

describe("a refusal", () => {
  it.each([
    ["WRONGPASS invalid username-password pair or user is disabled.", /user or password/],
    ["NOAUTH Authentication required.", /user or password/],
    ["ERR Client sent AUTH, but no password is set", undefined],
    ["NOPERM this user has no permissions to run the 'eval' command", /ACL SETUSER .*\+eval.* ~\{p\}:\*/],
    ["ERR The user executing the script can't publish to the channel", /ACL SETUSER .* &\{p\}:\*/],
    // Redis 6 wraps the errors of a script.
    [
      "ERR Error running script (call to f_12): @user_script:5: -READONLY You can't write",
      /read-only replica/,
    ],
    ["ERR DB index is out of range", /database of this number/],
    ["ERR SELECT is not allowed in cluster mode", /database of this number/],
    ["MOVED 5526 10.0.0.1:6379", /Cluster client/],
    ["WRONGTYPE Operation against a key holding the wrong kind of value", /another `prefix`/],
    ["DENIED Redis is running in protected mode because protected mode is enabled", /protected mode/],
    // By ioredis 6 and by the parser of 5: an HTTP server answers.
    ['Unknown RESP type 72 "H". Please report this.', /is no Redis/],
    ['Protocol error, got "H" as reply type byte. Please report this.', /is no Redis/],
    ["ERR unknown command 'EVAL', with args beginning with:", /lacks a command/],
    ["ERR Unknown Redis command called from script script: 2342fb, on @user_script:3.", /lacks a command/],
    ["LOADING Redis is loading the dataset in memory", undefined],
    ["MASTERDOWN Link with MASTER is down", undefined],
    ["OOM command not allowed when used memory > 'maxmemory'.", undefined],
    ["MISCONF Redis is configured to save RDB snapshots", undefined],
    ["BUSY Redis is busy running a script.", undefined],
    ["CLUSTERDOWN The cluster is down", undefined],
    ["ERR max number of clients reached", undefined],
    ["connect ECONNREFUSED 127.0.0.1:6379", undefined],
  ])("%s", (message, expected) => {
    const refusal = refusalFor(new Error(message), "p");
    if (expected === undefined) expect(refusal).toBeUndefined();
    else expect(refusal).toMatchObject({ code: "ERR_LOCK_CONFIG", message: expect.stringMatching(expected) });
  });

  it("is told by the code of a TLS error, too", () => {
    const error = Object.assign(new Error("self-signed certificate"), {
      code: "DEPTH_ZERO_SELF_SIGNED_CERT",
    });
    expect(refusalFor(error, "p")?.message).toMatch(/NODE_EXTRA_CA_CERTS/);
  });
});
