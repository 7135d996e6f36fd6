import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { elapsedMs } from "../../src/clock.js";
import { forgottenWaitMs, formerOwner } from "../../src/lease/key-history.js";
import { isTrusted, leaseTiming } from "../../src/lease/trust-window.js";
import { silentLogger } from "../../src/logger.js";
import { askTelegram, unknownRoundTripMs } from "../../src/polling/telegram-call.js";
import { classifyFailure } from "../../src/polling/telegram-failure.js";
import { UpdateLedger } from "../../src/polling/update-ledger.js";
import { exponentialDelayMs, withJitter } from "../../src/waiting.js";
import { VirtualTime } from "../tools/virtual-time.js";

const ms = fc.integer({ min: 0, max: 10_000_000 });
const share = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });

describe("backoff", () => {
  it("grows, stays within a quarter of its cap, and is never negative", () => {
    const backoff = { firstMs: 100, capMs: 10_000 };
    fc.assert(
      fc.property(fc.nat(100_000), share, (retry, random) => {
        const delay = exponentialDelayMs(backoff, retry, () => random);
        expect(delay).toBeGreaterThanOrEqual(75);
        expect(delay).toBeLessThanOrEqual(12_500);
        expect(exponentialDelayMs(backoff, retry + 1, () => 0.5)).toBeGreaterThanOrEqual(
          exponentialDelayMs(backoff, retry, () => 0.5),
        );
      }),
    );
  });

  it("jitter moves a delay by no more than its share", () => {
    fc.assert(
      fc.property(ms, share, share, (delay, portion, random) => {
        expect(Math.abs(withJitter(delay, portion, () => random) - delay)).toBeLessThanOrEqual(
          delay * portion + 1e-6,
        );
      }),
    );
  });
});

describe("the trust window", () => {
  it("ends before the lease can end on the server, whatever either clock does", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2_000, max: 120_000 }),
        ms,
        ms,
        fc.integer(),
        (leaseMs, sent, passed, wallStep) => {
          const timing = leaseTiming(leaseMs);
          const from = { monotonicMs: sent, wallMs: 0 };
          const now = { monotonicMs: sent + passed, wallMs: passed + wallStep };

          if (isTrusted(timing, from, now)) expect(passed).toBeLessThan(leaseMs);
          if (elapsedMs(from, now) >= timing.trustMs) expect(isTrusted(timing, from, now)).toBe(false);
        },
      ),
    );
  });

  it("leaves room for two beats that fail", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2_000, max: 120_000 }), (leaseMs) => {
        const { beatEveryMs, deadlineMs, trustMs } = leaseTiming(leaseMs);
        expect(2 * beatEveryMs + deadlineMs).toBeLessThanOrEqual(trustMs + 1e-6);
      }),
    );
  });
});

describe("a forgotten key", () => {
  const at = (monotonicMs: number, wallMs = monotonicMs) => ({ monotonicMs, wallMs });
  const connection = { owner: "a:2", connectedAt: at(0), memoryAgeMs: undefined, leaseMs: 10_000 };

  it("is left alone for one lease from this connection's first look at it, whoever held it", () => {
    const ownLoss = { renewed: at(0), owner: "a:1" };
    fc.assert(
      fc.property(ms, ms, fc.boolean(), (found, passed, isOurs) => {
        const before = isOurs ? { ownLoss } : {};
        expect(forgottenWaitMs(before, connection, at(found))).toBe(10_000);
        const history = { ...before, firstForgotten: { at: at(found), owner: "a:2" } };
        expect(forgottenWaitMs(history, connection, at(found + passed))).toBe(10_000 - passed);
      }),
    );
  });

  it("is waited for again after a reconnect, which may have met another server", () => {
    const history = { firstForgotten: { at: at(0), owner: "a:1" } };

    expect(forgottenWaitMs(history, connection, at(9_999))).toBe(10_000);
  });

  it("is no sooner free because the wall clock was set forward", () => {
    const history = { firstForgotten: { at: at(0), owner: "a:2" } };

    expect(forgottenWaitMs(history, connection, at(1_000, 61_000))).toBe(9_000);
  });

  it("is waited for as long as the lease of who was seen there, where that is longer than ours", () => {
    const otherHolder = { seen: at(0), owner: "a:2", leaseMs: 30_000 };

    expect(forgottenWaitMs({ otherHolder }, connection, at(0))).toBe(30_000);
  });

  it("of a lock that dies with its session is free, unless the server was started less than a lease ago", () => {
    expect(forgottenWaitMs({}, { ...connection, memoryAgeMs: 1e9 }, at(1))).toBeLessThan(0);
    expect(forgottenWaitMs({}, { ...connection, memoryAgeMs: 3_000 }, at(2_000, 90_000))).toBe(5_000);
  });

  it("does not exist in a kernel", () => {
    expect(forgottenWaitMs({}, { ...connection, leaseMs: undefined }, at(0))).toBe(0);
  });
});

describe("a former owner", () => {
  const at = (monotonicMs: number) => ({ monotonicMs, wallMs: monotonicMs });

  it("is named until its lease has ended by the server's count, not for ever", () => {
    const history = { ownLoss: { renewed: at(5_000), owner: "a:1" } };

    expect(formerOwner(history, 10_000, at(14_999))).toBe("a:1");
    expect(formerOwner(history, 10_000, at(15_000))).toBeUndefined();
    expect(formerOwner({}, 10_000, at(0))).toBeUndefined();
  });
});

describe("the offset to confirm", () => {
  it("follows the book of updates, in whatever order handlers end", () => {
    const order = fc
      .integer({ min: 1, max: 30 })
      .chain((count) => fc.tuple(fc.constant(count), fc.shuffledSubarray([...Array(count).keys()])));
    fc.assert(
      fc.property(order, ([count, finishing]) => {
        const ledger = new UpdateLedger(new VirtualTime().clock());
        const updates = Array.from({ length: count }, (_, index) => ({ update_id: 100 + index }));
        expect(ledger.fetched(updates as never, 0).length).toBe(count);
        const entries = updates.map(({ update_id }) => ledger.start(update_id)!);
        for (const index of finishing) ledger.finish(entries[index]!);

        const unfinished = updates
          .map(({ update_id }) => update_id)
          .filter((id) => !finishing.includes(id - 100));
        expect(ledger.front.offset).toBe(unfinished[0] ?? 100 + count);
        expect(ledger.runningIds().repeated).toEqual(unfinished);
        // The next lease begins there, and what is done or running is not handled a second time.
        ledger.beginLease();
        expect(ledger.nextOffset).toBe(unfinished[0] ?? 100 + count);
        expect(
          ledger.fetched(updates.filter(({ update_id }) => update_id >= ledger.nextOffset) as never, 0),
        ).toEqual([]);
      }),
    );
  });

  it("forgets updates that were never started: they come again", () => {
    const ledger = new UpdateLedger(new VirtualTime().clock());
    ledger.fetched([{ update_id: 1 }, { update_id: 2 }, { update_id: 3 }] as never, 0);
    ledger.finish(ledger.start(1)!);

    ledger.beginLease();

    expect(ledger.nextOffset).toBe(2);
    expect(ledger.fetched([{ update_id: 2 }, { update_id: 3 }] as never, 0).length).toBe(2);
  });

  it("knows what is done above an unfinished update, over any number of leases", () => {
    const ledger = new UpdateLedger(new VirtualTime().clock());
    const ids = (from: number) =>
      [5, 6, 7, 8, 9].filter((id) => id >= from).map((update_id) => ({ update_id }));
    ledger.fetched(ids(5) as never, 0);
    const stillRunning = ledger.start(5)!;
    ledger.finish(ledger.start(9)!);
    ledger.beginLease();
    expect(ledger.fetched(ids(5) as never, 0).map(({ update_id }) => update_id)).toEqual([6, 7, 8]);
    ledger.finish(stillRunning);

    ledger.beginLease();

    expect(ledger.nextOffset).toBe(6);
    expect(ledger.fetched(ids(6) as never, 0).map(({ update_id }) => update_id)).toEqual([6, 7, 8]);
  });

  it("remembers what is done above an update that is fetched again, whenever an older handler ends", () => {
    const ledger = new UpdateLedger(new VirtualTime().clock());
    const updates = [5, 6, 9].map((update_id) => ({ update_id }));
    ledger.fetched(updates as never, 0);
    ledger.finish(ledger.start(6)!);
    const stillRunning = ledger.start(9)!;
    ledger.beginLease();
    ledger.finish(stillRunning);

    expect(ledger.fetched(updates as never, 0)).toEqual([{ update_id: 5 }]);
  });

  it("is not kept for longer than a day, since ids may start anew", () => {
    const time = new VirtualTime();
    const ledger = new UpdateLedger(time.clock());
    ledger.fetched([{ update_id: 1 }] as never, 0);
    ledger.finish(ledger.start(1)!);
    time.freeze(24 * 60 * 60 * 1000 + 1);

    ledger.beginLease();

    expect(ledger.nextOffset).toBe(0);
  });
});

describe("a failed call", () => {
  const error = (error_code: number, description = "", parameters = {}) => ({
    error_code,
    description,
    parameters,
  });

  it("is classified by its code and, for 409, its text", () => {
    const other =
      "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";
    const active =
      "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
    expect(classifyFailure(error(409, other))).toEqual({ kind: "conflict", conflict: "other-poller" });
    expect(classifyFailure(error(409, active))).toEqual({ kind: "conflict", conflict: "webhook-active" });
    expect(classifyFailure(error(409, "Conflict: terminated by setWebhook request"))).toEqual({
      kind: "conflict",
      conflict: "webhook-set",
    });
    expect(classifyFailure(error(409, "Conflict: terminated by other long poll or webhook"))).toEqual({
      kind: "conflict",
      conflict: undefined,
    });
    expect(classifyFailure(error(429, "", { retry_after: 7 }))).toEqual({
      kind: "flood",
      retryAfterMs: 7_000,
    });
    expect(classifyFailure(error(429))).toEqual({ kind: "flood", retryAfterMs: 3_000 });
    expect(classifyFailure(error(401))).toEqual({ kind: "unauthorized" });
    expect(classifyFailure(error(404))).toEqual({ kind: "unauthorized" });
  });

  it("always has a kind, whatever is thrown", () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        expect(classifyFailure(thrown).kind).toBeTypeOf("string");
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 599 }), fc.string(), (code, text) => {
        const { kind } = classifyFailure(error(code, text));
        if (code === 409) expect(kind).toBe("conflict");
        else if (code >= 500) expect(kind).toBe("server");
        else if (![401, 404, 429].includes(code)) expect(kind).toBe("refused");
      }),
    );
  });
});

describe("the round trip", () => {
  it("is that of the last call, and at least 1 ms", async () => {
    const time = new VirtualTime();
    const roundTrip = { ms: unknownRoundTripMs };
    const context = {
      clock: time.clock(),
      roundTrip,
      logger: silentLogger,
      random: () => 0,
      turn: async () => {},
    };
    for (const [tookMs, expected] of [
      [0.2, 1],
      [40, 40],
    ] as const) {
      const call = async () => {
        time.nowMs += tookMs;
      };
      await askTelegram(context, call, new AbortController().signal);
      expect(roundTrip.ms).toBe(expected);
    }
  });
});
