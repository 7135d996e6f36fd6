import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { clockFinding } from "../../../src/doctor/examination.js";
import { duration, type Finding, holderName, type Status, verdictOf } from "../../../src/doctor/finding.js";
import { holderFinding, isSilent } from "../../../src/doctor/holder-check.js";
import { chooseLock, type LockChoice } from "../../../src/doctor/lock-choice.js";
import { directoryObstacle, type OpenLock } from "../../../src/doctor/lock-connection.js";
import { freeFromSilentHolder } from "../../../src/doctor/repairs.js";
import { runCommand } from "../../../src/doctor/run-command.js";
import { updatesFinding } from "../../../src/doctor/telegram-checks.js";
import type { Holder } from "../../../src/lock/backend.js";

describe("what a command prints", () => {
  const token = `7000000001:${"Ab".repeat(17)}x`;
  const url = "postgres://bot:S3cret%21@db.example.com/bots";

  /** As it comes out, on a terminal and in JSON. */
  async function printed(text: string, environment: Record<string, string>): Promise<string[]> {
    const out: string[] = [];
    const terminal = { print: (line: string) => out.push(line), complain: () => {}, ask: undefined };
    await runCommand([], environment, terminal, {
      help: "",
      parse: () => ({}),
      async run(_, __, { print, printJson }) {
        print(text);
        printJson({ text }, 0);
        return 0;
      },
    });
    return out;
  }

  it.each([
    ["a token", `bot ${token} failed`],
    ["the secret half of a token", `got ${token.split(":")[1]}`],
    ["a token that has lost its form", `invalid ${token.slice(0, -1)}`],
    ["a connection string", `cannot parse ${url}`],
    ["a password as it stands in the connection string", "S3cret%21 is wrong"],
    ["a password as it is meant", "S3cret! is wrong"],
    ["a password in base64", Buffer.from("bot:S3cret!").toString("base64")],
    ["the password of another connection string", "at redis://:other@h:1"],
  ])("has no secret in it: %s", async (_, text) => {
    for (const shown of await printed(text, { BOT_TOKEN: token, DATABASE_URL: url })) {
      expect(shown).not.toMatch(/Ab{2}|AbAb|S3cret|UzNjcmV0|other/);
      expect(shown).toMatch(/<(secret|token|password)>/);
    }
  });

  it.each([{ PGPASSWORD: "o" }, { PGPASSWORD: "st" }, { PGPASSWORD: "the" }, { PGPASSWORD: "postgres" }])(
    "is whole where %j stands in our own sentences",
    async (environment) => {
      const sentence = "The Postgres lock (--postgres) at localhost:5432";
      expect(await printed(sentence, environment)).toEqual([sentence, JSON.stringify({ text: sentence })]);
    },
  );

  it("has no power over the terminal", async () => {
    const shown = await printed("a\u001b[2Jb\u009bc\u202ed", {});
    expect(shown[0]).toBe("a\\u001b[2Jb\\u009bc\\u202ed");
    expect(JSON.parse(shown[1] as string)).toEqual({ text: shown[0] });
  });

  it("shows a holder's label on one line, whatever is in it", () => {
    const holder = { instance: "evil\n  ok       holder", revision: "\u001b[0m" };
    expect(holderName(holder)).toBe("evil\\u000a  ok       holder (revision \\u001b[0m)");
  });
});

describe("verdictOf", () => {
  const finding = (status: Status): Finding => ({ check: "lock", status, code: "", message: "" });
  it.each<[Status[], string]>([
    [["ok", "warning", "skipped"], "healthy"],
    [["ok", "unknown"], "unknown"],
    [["unknown", "problem"], "problem"],
  ])("of %j is %s", (statuses, verdict) => {
    expect(verdictOf(statuses.map(finding))).toBe(verdict);
  });
});

describe("the lock that is chosen", () => {
  const choose = (env: Record<string, string>, given = {}) => {
    const choice = chooseLock(given, { HOME: "/home/bot", ...env });
    return [choice?.backend.name, choice?.source, choice?.location];
  };

  it("is that of the option, whatever the environment says", () => {
    const env = { DATABASE_URL: "postgres://h/d", REDIS_URL: "redis://r:1" };
    expect(choose(env, { redis: "redis://other:2" })).toEqual(["redis", "--redis", "other:2"]);
    expect(choose(env, { postgres: "DATABASE_URL" })).toEqual(["postgres", "--postgres", "h:5432/d"]);
    expect(choose({ mine: "redis://r:1" }, { redis: "mine" })).toEqual(["redis", "--redis", "r:1"]);
    expect(choose(env, { file: "/locks" })).toEqual(["file", "--file", "/locks"]);
    expect(choose(env, { "no-lock": true })).toEqual([undefined, undefined, undefined]);
  });

  it("is else that of the one variable that fits", () => {
    expect(choose({ DATABASE_URL: "postgresql://h:5/d" })).toEqual(["postgres", "DATABASE_URL", "h:5/d"]);
    expect(choose({ DATABASE_URL: " postgres:///d?host=/run\n" })[2]).toBe("/run:5432/d");
    expect(choose({ REDIS_URL: "rediss://r:1" })).toEqual(["redis", "REDIS_URL", "r:1"]);
    expect(choose({ DATABASE_URL: "mysql://h/d", REDIS_URL: "redis://r:1" })[0]).toBe("redis");
  });

  it("is else the file lock's default directory", () => {
    expect(choose({ DATABASE_URL: "mysql://h/d" }).slice(0, 2)).toEqual(["file", "the default"]);
  });
});

it("a lock directory of another user is not judged, but how to judge it is told", () => {
  const directory = mkdtempSync(join(tmpdir(), "gsp-doctor-"));
  const choice = chooseLock({ file: directory }, {});
  const { uid } = statSync(directory);
  try {
    const finding = choice && directoryObstacle(choice, uid + 1);
    expect(choice && directoryObstacle(choice, uid)).toBeUndefined();
    // A directory of root may serve anybody.
    if (uid === 0) expect(finding).toBeUndefined();
    else expect(finding).toMatchObject({ status: "unknown", code: "other-user" });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

describe("a holder", () => {
  const choice = chooseLock({ redis: "redis://localhost" }, {}) as LockChoice;

  it("is silent when it has missed a beat of its own lease, or of the longest that there is", () => {
    expect(isSilent({ leaseMs: 10_000, silentMs: 4_500 })).toBe(false);
    expect(isSilent({ leaseMs: 10_000, silentMs: 4_501 })).toBe(true);
    expect(isSilent({ silentMs: 54_000 })).toBe(false);
    expect(isSilent({ silentMs: 54_001 })).toBe(true);
    expect(isSilent({})).toBe(false);
  });

  it("is described by platform, revision and time", () => {
    const holder = { instance: "render:srv-1:7", revision: "4e1f02c", since: 0 };
    expect(holderFinding({ kind: "held", holder }, choice, "1", 90_000).message).toBe(
      "Held by render:srv-1:7 (on render, revision 4e1f02c) for 1 minute, since 1970-01-01T00:00:00.000Z.",
    );
    expect(holderFinding({ kind: "held", holder: {} }, choice, "1").message).toBe(
      "Held by an instance that tells nothing about itself.",
    );
  });

  it("of a Postgres session lock is not said to hold it for as long as its session lives", () => {
    const session = chooseLock({ postgres: "postgres://localhost/bots" }, {}) as LockChoice;
    const holder = { instance: "web-1:7", since: 0 };
    expect(holderFinding({ kind: "held", holder }, session, "1", 90_000).message).toBe(
      "Held by web-1:7, in a session that began 1 minute ago, 1970-01-01T00:00:00.000Z.",
    );
    expect(
      holderFinding({ kind: "held", holder: { ...holder, token: 1 } }, session, "1", 90_000).message,
    ).toBe("Held by web-1:7 for 1 minute, since 1970-01-01T00:00:00.000Z.");
  });

  it("that cannot be asked for is unknown", () => {
    const finding = holderFinding({ kind: "unknown", reason: "reset" }, choice, "1");
    expect(finding).toMatchObject({ status: "unknown" });
  });
});

describe("updates that wait", () => {
  const watch = { last: 3, hasFallen: false, watchedMs: 2_000 };
  it.each([
    ["a living holder", { kind: "held", holder: {} }, "unknown"],
    ["a silent holder", { kind: "silent", holder: {} }, "problem"],
    ["no holder", { kind: "free" }, "problem"],
    ["no lock", undefined, "unknown"],
    ["a lock that does not answer", { kind: "unknown", reason: "reset" }, "unknown"],
  ] as const)("and are not consumed, with %s", (_, lock, status) => {
    expect(updatesFinding(watch, lock).status).toBe(status);
  });
});

describe("clocks", () => {
  it("may differ by what a Date header and the network explain", () => {
    expect(clockFinding({ telegramMs: 4_999, lockMs: -4_999 }).status).toBe("ok");
    expect(clockFinding({ telegramMs: undefined, lockMs: undefined }).status).toBe("skipped");
  });

  it("that differ by more are named, and are no problem", () => {
    expect(clockFinding({ telegramMs: 7_200_000, lockMs: -60_000 })).toMatchObject({
      status: "warning",
      message: expect.stringContaining("2 hours behind Telegram's and 1 minute ahead of the lock server's"),
    });
  });
});

describe("a lock whose server cannot end a silent session", () => {
  const lockOf = (holder: Holder | undefined, evict: (silentMs: number) => boolean) => {
    const evictions: number[] = [];
    const lock: OpenLock = {
      holder: async () => holder,
      aheadMs: async () => undefined,
      async ask() {},
      async evict(silentMs) {
        evictions.push(silentMs);
        return evict(silentMs);
      },
      async close() {},
    };
    return { lock, evictions };
  };

  it("is freed by the doctor once the holder is silent for the longest lease that there is", async () => {
    const { lock, evictions } = lockOf({ instance: "old:1", silentMs: 120_000 }, () => true);

    expect(await freeFromSilentHolder(lock)).toEqual({
      done: true,
      message: "The lock is free: the session of old:1 was ended.",
    });
    expect(evictions).toEqual([120_000]);
  });

  it("is never taken from a holder that is heard", async () => {
    const { lock, evictions } = lockOf({ instance: "old:1", silentMs: 1_000 }, () => true);

    expect((await freeFromSilentHolder(lock)).done).toBe(false);
    expect(evictions).toEqual([]);
  });

  it("is left alone, with advice, where the session is not the doctor's to end", async () => {
    const { lock } = lockOf({ instance: "psql", silentMs: 9_000_000, leaseMs: 100 }, () => false);

    const { done, message } = await freeFromSilentHolder(lock);

    expect([done, message]).toEqual([
      false,
      expect.stringMatching(/psql was not heard for 2 hours .*docs\/postgres\.md/),
    ]);
  });
});

it("durations are told in their largest unit", () => {
  expect([999, 1_000, 59_999, 60_000, 7_200_000, 200_000_000].map(duration)).toEqual([
    "0 seconds",
    "1 second",
    "59 seconds",
    "1 minute",
    "2 hours",
    "2 days",
  ]);
});
