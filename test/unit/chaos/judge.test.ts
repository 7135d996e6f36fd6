import type { BotApiEvent } from "grammy-safe-polling/testing";
import { describe, expect, it } from "vitest";
import { planFaults } from "../../chaos/fault-plan.js";
import type { InstanceHistory, RoundHistory, Span } from "../../chaos/history.js";
import { judge } from "../../chaos/judge.js";
import type { Line } from "../../tools/bot-fleet.js";

const boundMs = 1_000;

function line(at: number, event: string, fields: object = {}): Line {
  return { event, at, monotonicMs: at, ...fields };
}

/** A process that polls under a lease, handles an update and is stopped, unless told otherwise. */
function instance(name: string, lines: Line[], given: Partial<InstanceHistory> = {}): InstanceHistory {
  return {
    name,
    priority: 0,
    lines: [line(0, "ready"), ...lines],
    freezes: [],
    terminatedAt: 10_000,
    exit: { code: 0, signal: null },
    ...given,
  };
}

let sequence = 0;
function event(at: number, fields: object): BotApiEvent {
  sequence += 1;
  return { at, wallAt: at, sequence, botId: 1, ...fields } as BotApiEvent;
}

const poll = (at: number, name: string, offset: number) =>
  event(at, { type: "poll", instance: name, offset, requestId: at, limit: 100, timeoutSeconds: 30 });
const pushed = (at: number, updateId: number) =>
  event(at, { type: "pushed", updateId, updateType: "message" });
const sent = (at: number, updateId: number) => event(at, { type: "sent", instance: "?", updateId });

/** `a` polls and handles update 1, then hands over to `b`, which handles update 2. */
function handover(
  change: { a?: Line[]; b?: Line[]; events?: BotApiEvent[]; of?: Partial<InstanceHistory> } = {},
) {
  const a = change.a ?? [
    line(100, "acquired", { token: 1 }),
    line(110, "poll", { offset: 0 }),
    line(120, "handling", { updateId: 1 }),
    line(200, "poll", { offset: 2 }),
    line(220, "released"),
  ];
  const b = change.b ?? [
    line(210, "acquired", { token: 2 }),
    line(215, "poll", { offset: 0 }),
    line(230, "handling", { updateId: 2 }),
    line(900, "released"),
  ];
  const events = [
    pushed(50, 1),
    pushed(51, 2),
    poll(111, "a", 0),
    sent(125, 1),
    poll(201, "a", 2),
    poll(216, "b", 0),
    sent(235, 2),
    ...(change.events ?? []),
  ];
  return {
    seed: 1,
    plan: [],
    deeds: [],
    instances: [instance("a", a, change.of), instance("b", b)],
    events: events.sort((one, other) => one.at - other.at),
    stalls: [],
    failovers: [] as Span[],
    healedAt: 800,
    recoveredAt: 850,
  } satisfies RoundHistory;
}

const violationsOf = (history: RoundHistory) => judge(history, boundMs).violations;

describe("the judge of chaos", () => {
  it("finds nothing in a clean handover", () => {
    expect(judge(handover(), boundMs)).toEqual({
      violations: [],
      figures: {
        messages: 2,
        pollerChanges: 1,
        maxGapMs: 110,
        recoveryMs: 50,
        handledAgain: 0,
        twoPollersMs: 0,
        handedOver: 0,
        leadingTasks: 0,
        latePolls: 0,
      },
    });
  });

  it("finds a leading task that begins before the last one has ended", () => {
    const history = (ledAt: number, toldAt = 190) => {
      const clean = handover();
      const [a, b] = clean.instances as [InstanceHistory, InstanceHistory];
      const led = [line(105, "leading", { token: 1 }), line(ledAt, "led", { token: 1, toldAt })];
      const leads = [line(220, "leading", { token: 2 }), line(890, "led", { token: 2, toldAt: 880 })];
      const instances = [
        { ...a, lines: [...a.lines, ...led] },
        { ...b, lines: [...b.lines, ...leads] },
      ];
      return { ...clean, instances };
    };

    expect(judge(history(205), boundMs)).toMatchObject({ violations: [], figures: { leadingTasks: 2 } });
    expect(violationsOf(history(225)).join()).toMatch(/b began its leading task at 220.0, while that of a/);
    const [a, b] = history(225).instances as unknown as [InstanceHistory, InstanceHistory];
    const isLost = {
      ...a,
      lines: a.lines.map((one) => (one.event === "released" ? line(208, "lost") : one)),
    };
    expect(violationsOf({ ...history(225), instances: [isLost, b] })).toEqual([]);
    const isFrozen = { ...a, freezes: [{ from: 215, until: 224 }] };
    expect(violationsOf({ ...history(225), instances: [isFrozen, b] })).toEqual([]);
  });

  it("finds a lease that is handed over to an equal, and one that is not handed over though that was said", () => {
    const history = (asked: object, releasedAt = 220) => {
      const clean = handover();
      const [a, b] = clean.instances as [InstanceHistory, InstanceHistory];
      const lines = a.lines.map((one) => (one.event === "released" ? line(releasedAt, "released") : one));
      const told = line(150, "asked", { answer: "hands-over", ...asked });
      return { ...clean, instances: [{ ...a, lines: [...lines, told] }, b] };
    };

    expect(judge(history({ priority: 1 }), boundMs)).toMatchObject({
      violations: [],
      figures: { handedOver: 1 },
    });
    expect(violationsOf(history({}))).toEqual([]);
    expect(violationsOf(history({ priority: 0 })).join()).toMatch(/a, whose priority is 0, handed over to 0/);
    expect(violationsOf(history({}, 8_000)).join()).toMatch(/a said at 150.0 that it hands over/);
  });

  it("finds a poll that was decided after another had got the lease", () => {
    const a = [
      line(100, "acquired", { token: 1 }),
      line(110, "poll", { offset: 0 }),
      line(200, "poll", { offset: 2 }),
      line(300, "poll", { offset: 2 }),
      line(310, "lost"),
    ];
    expect(violationsOf(handover({ a })).join()).toMatch(/a: poll at 300.0, after b had got the lease/);
  });

  it("finds two that trust their leases at once, but not where one of them stood still", () => {
    const lost = [
      line(100, "acquired", { token: 1 }),
      line(110, "poll", { offset: 0 }),
      line(200, "poll", { offset: 2 }),
      line(400, "lost"),
    ];
    expect(violationsOf(handover({ a: lost })).join()).toMatch(/while a trusted its own until 400/);

    const stalled = [...lost, line(401, "stall", { from: 205, until: 400 })];
    expect(violationsOf(handover({ a: stalled }))).toEqual([]);
    expect(violationsOf(handover({ a: lost, of: { freezes: [{ from: 205, until: 399 }] } }))).toEqual([]);
  });

  it("excuses an act that was decided before a standstill and done in the turn that ended it, no later one", () => {
    const acting = (at: number, ...more: Line[]) =>
      violationsOf(
        handover({
          a: [
            line(100, "acquired", { token: 1 }),
            line(110, "poll", { offset: 0 }),
            line(120, "handling", { updateId: 1 }),
            line(200, "poll", { offset: 2 }),
            line(at, "handling", { updateId: 3 }),
            ...more,
            line(400, "lost"),
          ],
          events: [pushed(52, 3), sent(at + 1, 3)],
        }),
      );
    const stall = line(301, "stall", { from: 205, until: 300 });
    const act = expect.stringMatching(/a: handling at .*, after b had got the lease/);

    expect(acting(299)).toContainEqual(act);
    expect(acting(299, stall)).toEqual([]);
    expect(acting(320, stall)).toContainEqual(act);
    expect(acting(299, line(301, "stall", { from: 215, until: 300 }))).toContainEqual(act);
  });

  it("lets a release that the server never confirmed free the key, but no act follow", () => {
    const left = [
      line(100, "acquired", { token: 1 }),
      line(110, "poll", { offset: 0 }),
      line(200, "poll", { offset: 2 }),
      line(205, "state", { state: "draining" }),
      line(400, "state", { state: "stopped" }),
    ];
    expect(violationsOf(handover({ a: left }))).toEqual([]);

    const acting = [...left.slice(0, 4), line(300, "poll", { offset: 2 }), ...left.slice(4)];
    expect(violationsOf(handover({ a: acting })).join()).toMatch(
      /a: poll at 300.0, after b had got the lease/,
    );
  });

  it("lets a failover have two poll, for no longer than it says and never after it", () => {
    const two = handover({
      a: [
        line(100, "acquired", { token: 7 }),
        line(110, "poll", { offset: 0 }),
        line(120, "handling", { updateId: 1 }),
        line(200, "poll", { offset: 2 }),
        line(225, "poll", { offset: 1 }),
        line(300, "lost"),
      ],
      events: [poll(226, "a", 1)],
    });
    const during = (from: number, until: number) => judge({ ...two, failovers: [{ from, until }] }, boundMs);

    expect(violationsOf(two).length).toBeGreaterThan(0);
    expect(during(150, 310)).toMatchObject({ violations: [], figures: { twoPollersMs: 90 } });
    expect(during(150, 290).violations).toEqual([expect.stringContaining("trusted its own until 300")]);
    expect(during(400, 500).violations.length).toBeGreaterThan(0);
    // Whoever stands still, until it is killed or finds its lease lost, polls no longer.
    const [a, b] = two.instances as unknown as [InstanceHistory, InstanceHistory];
    const frozen = { ...two, instances: [{ ...a, freezes: [{ from: 260, until: 295 }] }, b] };
    const verdict = judge({ ...frozen, failovers: [{ from: 150, until: 290 }] }, boundMs);
    expect(verdict).toMatchObject({ violations: [], figures: { twoPollersMs: 50 } });
  });

  it("lets whoever a failover leaves the lease act on, though the other server had granted it too", () => {
    const left = (lostAt: number) =>
      handover({
        a: [
          line(100, "acquired", { token: 7 }),
          line(110, "poll", { offset: 0 }),
          line(120, "handling", { updateId: 1 }),
          line(200, "poll", { offset: 2 }),
          line(350, "poll", { offset: 2 }),
          line(400, "released"),
        ],
        b: [
          line(210, "acquired", { token: 2 }),
          line(215, "poll", { offset: 0 }),
          line(230, "handling", { updateId: 2 }),
          line(lostAt, "lost"),
        ],
        events: [poll(351, "a", 2)],
      });
    const foundWith = (lostAt: number) =>
      judge({ ...left(lostAt), failovers: [{ from: 150, until: 290 }] }, boundMs).violations;

    expect(foundWith(250)).toEqual([]);
    expect(foundWith(360)).toEqual(["a: poll at 350.0, after b had got the lease at 210.0"]);
  });

  it.each(["stopped", "standby"])(
    "takes a lease for ended when its holder is %s, told as released or not",
    (state) => {
      const stopped = (at: number) =>
        handover({
          a: [
            line(100, "acquired", { token: 1 }),
            line(110, "poll", { offset: 0 }),
            line(120, "handling", { updateId: 1 }),
            line(200, "poll", { offset: 2 }),
            line(at, "state", { state }),
          ],
        });

      expect(violationsOf(stopped(205))).toEqual([]);
      expect(violationsOf(stopped(400))).toEqual([expect.stringContaining("trusted its own until 400")]);
    },
  );

  it("lets a holder hear a moment later that its connection is broken, but do nothing meanwhile", () => {
    const a = (lostAt: number, polledAt: number) => [
      line(100, "acquired", { token: 1 }),
      line(110, "poll", { offset: 0 }),
      line(polledAt, "poll", { offset: 2 }),
      line(lostAt, "lost", { reason: "connection" }),
    ];

    expect(violationsOf(handover({ a: a(250, 200) }))).toEqual([]);
    expect(violationsOf(handover({ a: a(270, 200) })).join()).toMatch(/while a trusted its own until 270/);
    expect(violationsOf(handover({ a: a(250, 240) })).join()).toMatch(
      /a: poll at 240.0, after b had got the lease/,
    );
  });

  it("finds a token that does not grow", () => {
    const b = [line(210, "acquired", { token: 1 }), line(215, "poll", { offset: 0 }), line(900, "released")];
    expect(violationsOf(handover({ b })).join()).toMatch(/b got token 1 at 210.0, after a had got 1/);
  });

  it("finds a poll that arrives after the lease has passed on, unless its process stood still meanwhile", () => {
    const late = { events: [poll(300, "a", 2)] };
    const a = [
      line(100, "acquired", { token: 1 }),
      line(110, "poll", { offset: 0 }),
      line(200, "poll", { offset: 2 }),
      line(220, "released"),
    ];
    expect(violationsOf(handover({ ...late, a })).join()).toMatch(/arrived at 300.0, after b had got/);

    const frozen = handover({ ...late, a, of: { freezes: [{ from: 201, until: 299 }] } });
    expect(judge(frozen, boundMs)).toMatchObject({ violations: [], figures: { latePolls: 1 } });
  });

  it("finds a poll that the instance did not tell of", () => {
    expect(violationsOf(handover({ events: [poll(700, "b", 7)] })).join()).toMatch(/did not tell of/);
  });

  it("finds a handler without a lease", () => {
    const b = [line(300, "handling", { updateId: 2 })];
    expect(violationsOf(handover({ b })).join()).toMatch(/b: handling at 300.0 without a lease/);
  });

  it("finds updates that nobody answered, and updates that were confirmed unseen", () => {
    const events = [
      pushed(60, 3),
      event(500, { type: "removed", reason: "confirmed", updateIds: [3], lostIds: [3] }),
    ];
    const found = violationsOf(handover({ events })).join();
    expect(found).toMatch(/updates 3 were never answered/);
    expect(found).toMatch(/updates 3 were confirmed at 500.0 and never delivered/);
  });

  it("finds an update that was handled twice, unless a crash or a loss explains it", () => {
    const b = [
      line(210, "acquired", { token: 2 }),
      line(230, "handling", { updateId: 1 }),
      line(240, "handling", { updateId: 2 }),
      line(900, "released"),
    ];
    const again = { b, events: [poll(216, "b", 0)] };
    const told = { b: [...b, line(215, "poll", { offset: 0 })] };
    expect(violationsOf(handover({ ...again, ...told })).join()).toMatch(/update 1 was handled by a at 120/);

    const killed = handover({ ...told, of: { killedAt: 205, exit: { code: null, signal: "SIGKILL" } } });
    expect(judge(killed, boundMs)).toMatchObject({ violations: [], figures: { handledAgain: 1 } });

    const thawed = (lostAt: number) => ({
      ...told,
      a: [
        line(100, "acquired", { token: 1 }),
        line(110, "poll", { offset: 0 }),
        line(120, "handling", { updateId: 1 }),
        line(200, "poll", { offset: 2 }),
        line(lostAt, "lost", { reason: "expired" }),
      ],
      of: { freezes: [{ from: 205, until: 225 }] },
    });
    expect(violationsOf(handover(thawed(234)))).toEqual([]);
    expect(violationsOf(handover(thawed(300))).join()).toMatch(/update 1 was handled by a at 120/);

    // It goes on, and the machine has no time for it: by its own word it stood still for longer.
    const { a, ...starved } = thawed(300);
    const stalled = [...a, line(301, "stall", { from: 204, until: 299 })];
    expect(violationsOf(handover({ ...starved, a: stalled }))).toEqual([]);
  });

  it("finds a conflict that no late poll explains", () => {
    const b = [
      line(210, "acquired", { token: 2 }),
      line(215, "poll", { offset: 0 }),
      line(230, "handling", { updateId: 2 }),
      line(250, "conflict"),
      line(900, "released"),
    ];
    expect(violationsOf(handover({ b })).join()).toMatch(/b met a conflict at 250.0/);
  });

  it("finds processes that end otherwise than asked to", () => {
    const cases: [Partial<InstanceHistory>, RegExp][] = [
      [{ exit: undefined }, /a did not end after SIGTERM/],
      [{ exit: { code: 1, signal: null } }, /a ended with code 1/],
      [{ exit: { code: null, signal: "SIGTERM" } }, /a ended with SIGTERM/],
      [{ terminatedAt: undefined }, /a ended by itself/],
    ];
    for (const [of, found] of cases) expect(violationsOf(handover({ of })).join()).toMatch(found);
  });

  it("finds that nobody polls after the last fault", () => {
    expect(violationsOf({ ...handover(), recoveredAt: 2_000 }).join()).toMatch(/nobody polled for 1200 ms/);
    expect(violationsOf({ ...handover(), recoveredAt: undefined }).join()).toMatch(/nobody polled/);
  });
});

describe("the plan of faults", () => {
  const options = { seed: 7, durationMs: 60_000, slots: 3, hasServer: true, leaseMs: 2_000 };

  it("follows from the seed, and has faults of every kind", () => {
    expect(planFaults(options)).toEqual(planFaults(options));
    expect(planFaults(options)).not.toEqual(planFaults({ ...options, seed: 8 }));
    const kinds = new Set(planFaults({ ...options, durationMs: 600_000 }).map(({ kind }) => kind));
    expect(kinds.size).toBe(13);
  });

  it("has no fault of a lock server where there is none", () => {
    const kinds = planFaults({ ...options, durationMs: 600_000, hasServer: false }).map(({ kind }) => kind);
    expect([...new Set(kinds)].sort()).toEqual(["ask", "deploy", "freeze", "kill", "resign", "stop"]);
  });
});
