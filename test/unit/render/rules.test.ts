import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../src/clock.js";
import { consoleLogger, withFields } from "../../../src/logger.js";
import { rateLimitWaitMs } from "../../../src/render/api-client.js";
import { tokenUse } from "../../../src/render/duplicates.js";
import { type LogLine, overlapOf, type RenderFacts, signOf } from "../../../src/render/facts.js";
import { renderRepairs } from "../../../src/render/findings.js";
import { decideRepair, type Standing } from "../../../src/render/repairs.js";
import type { Deploy, Instance, RenderService } from "../../../src/render/services.js";
import { HandleLog } from "../../../src/session/handle-log.js";

const minuteMs = 60_000;

function service(given: Partial<RenderService> = {}): RenderService {
  return {
    id: "srv-a",
    name: "a",
    type: "background_worker",
    ownerId: "tea-1",
    region: "frankfurt",
    createdAt: 1_000,
    isSuspended: false,
    isPreview: false,
    numInstances: 1,
    autoscaling: undefined,
    shutdownDelayMs: 30_000,
    hasDisk: false,
    host: undefined,
    ...given,
  };
}

function facts(given: Partial<RenderFacts> = {}): RenderFacts {
  return {
    service: service(),
    instances: [],
    overlap: undefined,
    duplicates: [],
    unreadable: [],
    lines: [],
    webhook: undefined,
    ...given,
  };
}

const now = { monotonicMs: 100 * minuteMs, wallMs: 1_800_000_000_000 };
const entitled: Standing = {
  isEntitled: true,
  hasConflict: true,
  conflictsAt: [now.wallMs - 5_000],
  leaseSince: now.wallMs - 60 * minuteMs,
  holders: [],
  isPreview: false,
  lastRepairAt: undefined,
  now,
};

/** Services with one bot, as all sides see them; times repeat, and some cannot be read. */
const groups = fc
  .array(fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }), { minLength: 2, maxLength: 5 })
  .map((times) => times.map((createdAt, index) => service({ id: `srv-${index}`, createdAt })));

/** A 409 in the logs of a service, just when we met ours, unless told otherwise. */
const line = (serviceId: string, instance = `${serviceId}-1`, given: Partial<LogLine> = {}): LogLine => ({
  sign: "conflict",
  serviceId,
  instance,
  at: now.wallMs,
  ...given,
});

/** What the monitor of each service would do. */
function everySide(group: readonly RenderService[]) {
  return group.map((self) => {
    const others = group.filter((other) => other !== self);
    const duplicates = others.map((other) => ({ service: other, token: "same" as const }));
    const lines = group.map(({ id }) => line(id));
    const seen = facts({ service: self, duplicates, lines });
    const { plan } = decideRepair(["suspend-duplicate"], seen, entitled);
    return { self, victim: plan?.service };
  });
}

describe("who is suspended", () => {
  it("is the same service, whichever side decides, and never the one that decides", () => {
    fc.assert(
      fc.property(groups, (group) => {
        const decided = everySide(group).filter(({ victim }) => victim !== undefined);
        expect(new Set(decided.map(({ victim }) => victim?.id)).size).toBeLessThanOrEqual(1);
        for (const { self, victim } of decided) expect(victim?.id).not.toBe(self.id);
      }),
    );
  });

  it("is never the oldest: one is left, even if every side acts at once, again and again", () => {
    fc.assert(
      fc.property(groups, (group) => {
        let left = group;
        for (;;) {
          const victims = new Set(everySide(left).flatMap(({ victim }) => victim?.id ?? []));
          if (victims.size === 0) break;
          left = left.filter(({ id }) => !victims.has(id));
        }
        const oldest = Math.min(...group.map(({ createdAt }) => createdAt ?? Number.POSITIVE_INFINITY));
        expect(left.length).toBeGreaterThan(0);
        if (left.length < group.length) expect(left.map(({ createdAt }) => createdAt)).toContain(oldest);
      }),
    );
  });

  it("is nobody when a creation time cannot be read or the last two are equal", () => {
    fc.assert(
      fc.property(groups, (group) => {
        const times = group.map(({ createdAt }) => createdAt).sort((a, b) => (b ?? 0) - (a ?? 0));
        fc.pre(times.includes(undefined) || times[0] === times[1]);
        expect(everySide(group).every(({ victim }) => victim === undefined)).toBe(true);
      }),
    );
  });

  it("is somebody when the times can be read and the last is alone", () => {
    const group = [1, 2, 3].map((createdAt) => service({ id: `srv-${createdAt}`, createdAt }));
    expect(everySide(group).map(({ victim }) => victim?.id)).toEqual(["srv-3", "srv-3", undefined]);
  });
});

describe("a service that has our token", () => {
  const other = service({ id: "srv-b", createdAt: 2_000 });
  const seen = facts({ duplicates: [{ service: other, token: "same" }], lines: [line("srv-b")] });
  const decide = (given: Partial<RenderFacts>, standing: Partial<Standing> = {}) =>
    decideRepair(["suspend-duplicate"], { ...seen, ...given }, { ...entitled, ...standing });

  it("is suspended when its own logs have a 409 at the time of ours", () => {
    expect(decide({}).plan).toMatchObject({ service: { id: "srv-b" } });
  });

  const ago = (sign: LogLine["sign"], ms: number | undefined) => ({
    lines: [line("srv-b", "srv-b-1", { sign, at: ms === undefined ? undefined : now.wallMs - ms })],
  });

  it("is suspended when it began to poll at the time of our conflict", () => {
    expect(decide(ago("start", 30_000)).plan).toMatchObject({ service: { id: "srv-b" } });
  });

  it("is suspended when updates were missing there: that is told once a minute", () => {
    expect(decide(ago("gap", 60_000)).plan).toMatchObject({ service: { id: "srv-b" } });
  });

  const innocent: Record<string, [Partial<RenderFacts>, Partial<Standing>?]> = {
    "its logs have no 409": [{ lines: [] }],
    "only our own logs have": [{ lines: [line("srv-a")] }],
    "its 409 was at another time": [ago("conflict", 40_000)],
    "it began to poll at another time": [ago("start", 40_000)],
    "updates were missing there at another time": [ago("gap", 70_000)],
    "its line has no time": [ago("conflict", undefined)],
    "it polled before our lease, which it may have handed over": [
      ago("start", 10_000),
      { leaseSince: now.wallMs - 9_000 },
    ],
    "it met a 409 before our lease": [ago("conflict", 10_000), { leaseSince: now.wallMs - 9_000 }],
    "we have no lease that could show it": [{}, { leaseSince: undefined }],
    "it is of another kind": [
      { duplicates: [{ service: { ...other, type: "web_service" }, token: "same" }] },
    ],
    "it has held our lock": [{}, { holders: ["render:srv-b-x:7"] }],
  };
  it.each(Object.entries(innocent))("is left alone when %s", (_, [given, standing]) => {
    const { plan, refusals } = decide(given, standing);
    expect(plan).toBeUndefined();
    expect(refusals).toEqual([
      { repair: "suspend-duplicate", reason: expect.stringMatching(/nothing shows that a polls/) },
    ]);
  });
});

describe("a repair", () => {
  const needed = facts({
    service: service({ numInstances: 2 }),
    duplicates: [{ service: service({ id: "srv-b", createdAt: 2_000 }), token: "same" }],
    webhook: { host: "x.test", serviceName: undefined },
    lines: [line("srv-a", "srv-a-1"), line("srv-a", "srv-a-2"), line("srv-b")],
  });

  it("scales only where two instances met another poller: that each began to poll is a deploy", () => {
    const lines = ["srv-a-1", "srv-a-2"].map((instance) => line("srv-a", instance, { sign: "start" }));
    const { plan, refusals } = decideRepair(["scale"], { ...needed, lines }, entitled);
    expect([plan, refusals[0]?.reason]).toEqual([undefined, expect.stringMatching(/no two instances/)]);
  });

  it("is one that is allowed, the first of those that are needed", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...renderRepairs]), (allowed) => {
        expect(decideRepair(allowed, needed, entitled).plan?.repair).toBe(allowed[0]);
      }),
    );
  });

  it("comes no sooner than ten minutes after the last one, by the clock that is behind", () => {
    const passed = fc.integer({ min: -20 * minuteMs, max: 40 * minuteMs });
    fc.assert(
      fc.property(passed, passed, (monotonicMs, wallMs) => {
        const lastRepairAt = { monotonicMs: now.monotonicMs - monotonicMs, wallMs: now.wallMs - wallMs };
        const { plan, refusals } = decideRepair(["scale"], needed, { ...entitled, lastRepairAt });
        const mayRepair = monotonicMs >= 10 * minuteMs && wallMs >= 10 * minuteMs;
        expect(plan !== undefined).toBe(mayRepair);
        expect(refusals.length).toBe(mayRepair ? 0 : 1);
      }),
    );
  });

  it("is not made by who is not entitled, in a preview, or during an overlap", () => {
    const cases = [
      decideRepair(renderRepairs, needed, { ...entitled, isEntitled: false }),
      decideRepair(renderRepairs, needed, { ...entitled, isPreview: true }),
      decideRepair(renderRepairs, { ...needed, service: service({ isPreview: true }) }, entitled),
      decideRepair(renderRepairs, { ...needed, overlap: { hasBegun: false } }, entitled),
    ];
    for (const { plan } of cases) expect(plan).toBeUndefined();
  });

  it("needs a conflict, but for a webhook: that alone stops polling", () => {
    const { plan, refusals } = decideRepair(renderRepairs, needed, { ...entitled, hasConflict: false });
    expect(plan?.repair).toBe("delete-webhook");
    expect(refusals).toEqual([]);
  });
});

describe("a line of a log", () => {
  /** As it stands in the log of a service that runs this library. */
  function written(write: (log: HandleLog) => void, format: "plain" | "json"): string {
    const lines: string[] = [];
    const keep = (text: string) => void lines.push(text);
    const sink = { log: keep, warn: keep, error: keep };
    const logger = withFields(consoleLogger(sink, { level: "info", isJson: format === "json" }), () => ({
      bot: "@my_bot",
    }));
    write(new HandleLog(logger, systemClock));
    return lines.join("\n");
  }
  const retry = { attempt: 1, attempts: 5, delayMs: 5_000, givesWay: false, overlapLeftMs: undefined };
  const ours: [string, (log: HandleLog) => void, LogLine["sign"] | undefined][] = [
    ["that it polls", (log) => log.polls(), "start"],
    ["that updates are missing", (log) => log.updatesAreMissing(), "gap"],
    ["that it waits for another poller", (log) => log.retry(retry), "conflict"],
    ["that it waits in an overlap", (log) => log.retry({ ...retry, overlapLeftMs: 9_000 }), "conflict"],
    ["that it leaves the bot to another", (log) => log.retry({ ...retry, givesWay: true }), "conflict"],
    ["that it ended", (log) => log.failed(new Error("409: Conflict: terminated by …")), "conflict"],
    ["that it stands by", (log) => log.standsBy({ instance: "web-1" }, false), undefined],
    ["that it has stopped", (log) => log.stopped(), undefined],
  ];
  it.each(ours)("of this library, %s, is read as what it means", (_, write, sign) => {
    for (const format of ["plain", "json"] as const) expect(signOf(written(write, format))).toBe(sign);
  });

  it.each([
    "Call to 'getUpdates' failed! (409: Conflict: terminated by other getUpdates request; make sure that …)",
    "telegram.error.Conflict: 409 terminated by other getUpdates request",
  ])("of another library is one: %s", (message) => expect(signOf(message)).toBe("conflict"));

  it.each(["409 widgets sold", "GET /hook 409 Gone", "polls now and then"])("is none: %s", (message) => {
    expect(signOf(message)).toBeUndefined();
  });
});

describe("overlapOf()", () => {
  const at = Date.parse("2026-03-02T10:00:00Z");
  const deploy = (status: string, ago: { created: number; finished?: number }): Deploy => ({
    id: `dep-${status}`,
    status,
    createdAt: at - ago.created,
    finishedAt: ago.finished === undefined ? undefined : at - ago.finished,
  });
  const young: Instance[] = [{ id: "i", createdAt: at - 1_000 }];

  it("lasts for 60 s, the shutdown delay and some slack after a deploy went live", () => {
    const ends = (seconds: number) =>
      overlapOf(service(), [deploy("live", { created: 300_000, finished: seconds * 1000 })], [], at);
    expect(ends(100)).toMatchObject({ hasBegun: true });
    expect(ends(110)).toBeUndefined();
  });

  it("does not exist after a deploy of a service with a disk, which stops the old instance first", () => {
    const live = deploy("live", { created: 60_000, finished: 1_000 });
    expect(overlapOf(service({ hasDisk: true }), [live], [], at)).toBeUndefined();
  });

  it.each(["created", "queued", "build_in_progress", "pre_deploy_in_progress"])(
    "is to come while a deploy is %s",
    (status) => {
      expect(overlapOf(service(), [deploy(status, { created: 1_000 })], [], at)).toMatchObject({
        hasBegun: false,
      });
    },
  );

  it.each(["deactivated", "build_failed", "pre_deploy_failed"])(
    "does not exist for a %s deploy",
    (status) => {
      expect(
        overlapOf(service(), [deploy(status, { created: 9_000, finished: 1_000 })], [], at),
      ).toBeUndefined();
    },
  );

  it("takes a status that nobody knows for a running deploy, but not for ever", () => {
    expect(overlapOf(service(), [deploy("new_status", { created: 1_000 })], [], at)).toBeDefined();
    expect(overlapOf(service(), [deploy("new_status", { created: 165 * minuteMs })], [], at)).toBeUndefined();
  });

  it("finds the newest deploy in a list of any order", () => {
    const old = deploy("deactivated", { created: 900_000, finished: 800_000 });
    const current = deploy("update_in_progress", { created: 1_000 });
    for (const deploys of [
      [old, current],
      [current, old],
    ]) {
      expect(overlapOf(service(), deploys, [], at)?.deploy?.id).toBe("dep-update_in_progress");
    }
  });

  it("shows in more instances than wanted, one of them young; not under autoscaling, where nobody knows", () => {
    const two = [...young, { id: "j", createdAt: at - 9_000_000 }];
    expect(overlapOf(service(), [], two, at)).toEqual({ hasBegun: true });
    expect(overlapOf(service({ numInstances: 2 }), [], two, at)).toBeUndefined();
    const autoscaling = { min: 1, max: 3, config: {} };
    expect(overlapOf(service({ autoscaling }), [], two, at)).toBeUndefined();
  });
});

describe("tokenUse()", () => {
  const token = `123456:${"Ab-_9".repeat(7)}`;

  it("tells our token from another one of the same bot and from other bots", () => {
    expect(tokenUse(token, token)).toBe("same");
    expect(tokenUse(`"${token}",`, token)).toBe("same");
    expect(tokenUse(`https://api.test/bot${token}/`, token)).toBe("same");
    expect(tokenUse("123456:plain-secret", token)).toBe("other");
    expect(tokenUse(`x${token}x`, token)).toBe("other");
    expect(tokenUse(`9${token}`, token)).toBeUndefined();
    expect(tokenUse("123456", token)).toBeUndefined();
    expect(tokenUse("", token)).toBeUndefined();
  });

  it("does not take a token without an id for a pattern", () => {
    expect(tokenUse("anything:at all", ".*:x")).toBeUndefined();
  });
});

describe("rateLimitWaitMs()", () => {
  const wait = (headers: Record<string, string>) => rateLimitWaitMs(new Headers(headers), now.wallMs);

  it("goes by Retry-After, else by Ratelimit-Reset, as seconds left or as epoch", () => {
    expect(wait({ "retry-after": "5", "ratelimit-reset": "40" })).toBe(6_000);
    expect(wait({ "ratelimit-reset": "17" })).toBe(18_000);
    expect(wait({ "ratelimit-reset": String(now.wallMs / 1000 + 30) })).toBe(31_000);
  });

  it("is bounded, whatever the headers say", () => {
    fc.assert(
      fc.property(fc.string(), fc.double(), (text, value) => {
        for (const header of [encodeURIComponent(text), String(value)]) {
          const ms = wait({ "ratelimit-reset": header });
          expect(ms).toBeGreaterThanOrEqual(1_000);
          expect(ms).toBeLessThanOrEqual(90_000);
        }
      }),
    );
  });
});
