import fc from "fast-check";
import { Bot } from "grammy";
import { describe, expect, it } from "vitest";
import { isSafePollingError, SafePollingError } from "../../src/errors.js";
import { isTrusted, leaseTiming } from "../../src/lease/trust-window.js";
import type { SafePollingOptions } from "../../src/options.js";
import { platformFacts } from "../../src/platform/instance.js";
import { pollInSeries, type QuietWindow } from "../../src/polling/conflict-series.js";
import { asTelegramBot } from "../../src/polling/telegram-bot.js";
import { classifyFailure } from "../../src/polling/telegram-failure.js";
import { type LedgerEntry, UpdateLedger } from "../../src/polling/update-ledger.js";
import { describeError, redact, redactText } from "../../src/redact.js";
import { resolveOptions } from "../../src/resolve-options.js";
import { wait } from "../../src/waiting.js";
import { VirtualTime } from "../tools/virtual-time.js";

const token = `123456:${"x".repeat(35)}`;
const bot = asTelegramBot(new Bot(token));

describe("options", () => {
  const names = [
    "lock",
    "key",
    "backoff",
    "startDelayMs",
    "webhook",
    "concurrency",
    "polling",
    "beforePolling",
    "drainTimeoutMs",
    "signals",
    "signal",
    "instance",
    "logger",
  ];
  const garbage = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSparseArray: true });

  /** Undefined: accepted. */
  const refusal = (given: unknown): unknown => {
    try {
      resolveOptions(bot, given as SafePollingOptions);
      return undefined;
    } catch (error) {
      return error;
    }
  };

  it("of any kind are accepted or refused with ERR_INVALID_OPTION, which names the option", () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), garbage, (name, value) => {
        const error = refusal({ [name]: value });
        if (error === undefined) return;
        expect(isSafePollingError(error, "ERR_INVALID_OPTION"), String(error)).toBe(true);
        expect((error as Error).message).toContain(name);
      }),
      { numRuns: 2_000 },
    );
  });

  it("nested ones too", () => {
    const nested = fc.constantFrom(
      ["backoff", "delaysMs"],
      ["backoff", "jitter"],
      ["backoff", "onExhausted"],
      ["polling", "timeoutSeconds"],
      ["polling", "limit"],
      ["polling", "allowedUpdates"],
    );
    fc.assert(
      fc.property(nested, garbage, ([outer = "", inner = ""], value) => {
        const error = refusal({ [outer]: { [inner]: value } });
        if (error === undefined) return;
        expect(isSafePollingError(error, "ERR_INVALID_OPTION"), String(error)).toBe(true);
        expect((error as Error).message).toContain(`${outer}.${inner}`);
      }),
      { numRuns: 2_000 },
    );
  });

  it("that are no options, or have other names, are refused", () => {
    fc.assert(
      fc.property(garbage, (given) => {
        const isEmpty = typeof given === "object" && given !== null && Object.keys(given).length === 0;
        const error = refusal(given);
        if (error === undefined) expect(isEmpty || given === undefined).toBe(true);
        else expect(isSafePollingError(error, "ERR_INVALID_OPTION"), String(error)).toBe(true);
      }),
    );
  });
});

describe("a series of conflicts", () => {
  /** Each step: the time since the conflict before, in milliseconds. Tells after how many conflicts it gave up. */
  async function exhaustedAfter(delaysMs: number[], gapsMs: number[], isEndless = false) {
    const time = new VirtualTime();
    const clock = time.clock();
    const { signal } = new AbortController();
    const delays: number[] = [];
    let conflicts = 0;
    const attempt = async (window: QuietWindow) => {
      const gapMs = gapsMs[conflicts];
      if (gapMs === undefined) throw new Error("enough");
      conflicts += 1;
      window.pollSent();
      await wait(clock, gapMs, signal);
      throw new SafePollingError("ERR_CONFLICT", "409");
    };
    let ended: unknown;
    pollInSeries(
      {
        backoff: { delaysMs, jitter: 0, isEndless },
        clock,
        random: () => 0.5,
        signal,
        record: { retry: ({ delayMs }) => void delays.push(delayMs), undisturbed() {} },
        overlap: { ms: 0, since: clock.now(), isUnlocked: false },
      },
      attempt,
    ).catch((error) => {
      ended = error;
    });
    while (!ended) await time.advance(10_000);
    const isExhausted = isSafePollingError(ended, "ERR_CONFLICT");
    return { conflicts: isExhausted ? conflicts : undefined, delays };
  }
  const delaysMs = fc.array(fc.integer({ min: 0, max: 30_000 }), { minLength: 1, maxLength: 6 });

  it("that comes without a pause is exhausted after one attempt more than there are delays, taken in order", async () => {
    await fc.assert(
      fc.asyncProperty(delaysMs, fc.integer({ min: 0, max: 9_000 }), async (given, gapMs) => {
        const { conflicts, delays } = await exhaustedAfter(given, Array(12).fill(gapMs));
        expect(conflicts).toBe(given.length + 1);
        expect(delays).toEqual(given);
      }),
      { numRuns: 30 },
    );
  });

  it("begins anew after ten quiet seconds, until ten conflicts in ten minutes exhaust it all the same", async () => {
    await fc.assert(
      fc.asyncProperty(delaysMs, fc.integer({ min: 10_001, max: 20_000 }), async (given, gapMs) => {
        const { conflicts, delays } = await exhaustedAfter(given, Array(12).fill(gapMs));
        expect(conflicts).toBe(10);
        expect(new Set(delays)).toEqual(new Set([given[0]]));
      }),
      { numRuns: 30 },
    );
  });

  it("goes on for ever at the last delay where it is endless", async () => {
    await fc.assert(
      fc.asyncProperty(delaysMs, async (given) => {
        const { conflicts, delays } = await exhaustedAfter(given, Array(15).fill(0), true);
        expect(conflicts).toBeUndefined();
        expect(delays.slice(given.length)).toEqual(Array(15 - given.length).fill(given.at(-1)));
      }),
      { numRuns: 30 },
    );
  });
});

describe("trust", () => {
  const step = fc.record({
    passedMs: fc.integer({ min: 0, max: 4_000 }),
    wallStepMs: fc.constantFrom(0, 0, 0, -3_600_000, 3_600_000),
    asleep: fc.boolean(),
  });

  it("is never longer than 0.7 leases of real time, through sleep or clock steps, though not both at once", () => {
    const timing = leaseTiming(10_000);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.boolean(), (steps, sleeps) => {
        const sent = { monotonicMs: 0, wallMs: 0 };
        const now = { ...sent };
        let realMs = 0;
        for (const { passedMs, wallStepMs, asleep } of steps) {
          realMs += passedMs;
          if (!sleeps || !asleep) now.monotonicMs += passedMs;
          now.wallMs += passedMs + (sleeps ? 0 : wallStepMs);
        }
        if (realMs >= timing.trustMs) expect(isTrusted(timing, sent, now)).toBe(false);
      }),
    );
  });
});

describe("the book of updates", () => {
  /** What the book must do, written down naively: every id with what became of it. */
  class NaiveLedger {
    readonly progress = new Map<number, "waiting" | "running" | "done">();
    nextOffset = 0;

    get confirmOffset(): number {
      const unfinished = [...this.progress].filter(([, progress]) => progress !== "done").map(([id]) => id);
      return Math.min(this.nextOffset, ...unfinished);
    }

    fetched(ids: number[]): number[] {
      const last = ids.at(-1);
      if (last === undefined) return [];
      this.nextOffset = Math.max(this.nextOffset, last + 1);
      const fresh = ids.filter((id) => !this.progress.has(id));
      for (const id of fresh) this.progress.set(id, "waiting");
      return fresh;
    }

    beginLease(): void {
      this.nextOffset = this.confirmOffset;
      for (const [id, progress] of this.progress) if (progress === "waiting") this.progress.delete(id);
    }

    of(wanted: string): number[] {
      return [...this.progress].filter(([, progress]) => progress === wanted).map(([id]) => id);
    }
  }
  const action = fc.oneof(
    fc.record({ do: fc.constant("fetch" as const), count: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ do: fc.constantFrom("start" as const, "finish" as const), pick: fc.nat(20) }),
    fc.record({ do: fc.constant("lease" as const) }),
  );

  it("agrees with a naive one, whatever is fetched, started, finished and begun again", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const ledger = new UpdateLedger(new VirtualTime().clock());
        const naive = new NaiveLedger();
        const running = new Map<number, LedgerEntry>();
        const firstId = 100;
        for (const act of actions) {
          if (act.do === "fetch") {
            const from = naive.confirmOffset || firstId;
            const ids = Array.from({ length: act.count }, (_, index) => from + index);
            const fresh = ledger.fetched(
              ids.map((update_id) => ({ update_id })) as never,
              naive.confirmOffset,
            );
            expect(fresh.map(({ update_id }) => update_id)).toEqual(naive.fetched(ids));
          } else if (act.do === "lease") {
            ledger.beginLease();
            naive.beginLease();
          } else {
            const [from, to] =
              act.do === "start" ? (["waiting", "running"] as const) : (["running", "done"] as const);
            const candidates = naive.of(from);
            const id = candidates[act.pick % Math.max(1, candidates.length)];
            if (id === undefined) continue;
            naive.progress.set(id, to);
            const entry = running.get(id) ?? ledger.start(id);
            if (act.do === "start") running.set(id, entry as LedgerEntry);
            else ledger.finish(entry as LedgerEntry);
          }
          expect(ledger.nextOffset).toBe(naive.nextOffset);
          expect(ledger.front.offset).toBe(naive.confirmOffset);
          expect(ledger.running).toBe(naive.of("running").length);
          expect(ledger.runningIds().repeated.sort()).toEqual(naive.of("running").sort());
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("a 409", () => {
  const texts = {
    "webhook-set": "Conflict: terminated by setWebhook request",
    "webhook-active":
      "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
    "other-poller":
      "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
  } as const;

  it("keeps its kind, whatever a proxy or a later server adds to the text", () => {
    const kinds = fc.constantFrom(...(Object.keys(texts) as (keyof typeof texts)[]));
    fc.assert(
      fc.property(kinds, fc.string({ unit: "grapheme", maxLength: 20 }), (kind, more) => {
        const error = { error_code: 409, description: `${texts[kind]} ${more}` };
        fc.pre(!more.includes("setWebhook") && !more.includes("webhook is active"));
        expect(classifyFailure(error)).toEqual({ kind: "conflict", conflict: kind });
      }),
    );
  });

  it("is one only by its number: a text alone proves nothing", () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.values(texts)), fc.anything(), (description, code) => {
        fc.pre(code !== 409);
        expect(classifyFailure({ error_code: code, description }).kind).not.toBe("conflict");
      }),
    );
  });
});

describe("the label of an instance", () => {
  it("is never empty and ends with the process id, whatever the environment says", () => {
    const environment = fc.dictionary(
      fc.constantFrom("RENDER_INSTANCE_ID", "FLY_MACHINE_ID", "POD_NAME", "HOSTNAME", "pm_id", "GIT_REV"),
      fc.string(),
    );
    fc.assert(
      fc.property(environment, fc.integer({ min: 1, max: 4_194_304 }), (env, pid) => {
        const { instance } = platformFacts(env, pid);
        expect(instance).toMatch(/^.+:\d+$/s);
        expect(instance.endsWith(`:${pid}`)).toBe(true);
      }),
    );
  });
});

describe("redaction", () => {
  const secret = fc
    .tuple(
      fc.integer({ min: 1, max: 9_999_999_999 }),
      fc.string({
        unit: fc.constantFrom(..."abcXYZ019_-"),
        minLength: 30,
        maxLength: 45,
      }),
    )
    .map(([id, rest]) => `${id}:${rest}`);

  it("leaves no token in an error, however deep it is buried", () => {
    fc.assert(
      fc.property(secret, fc.string(), fc.nat(8), (hidden, text, depth) => {
        let error: Error & { error?: unknown } = new Error(`${text} ${hidden} ${text}`);
        for (let level = 0; level < depth; level += 1) {
          error = Object.assign(new Error(`request to /bot${hidden}/getMe failed`), { error, cause: error });
        }
        const copy = redact(error) as Error & { error?: Error };
        for (let at: typeof copy | undefined = copy; at; at = at.error) {
          expect(`${at.message} ${at.stack}`).not.toContain(hidden);
        }
        expect(describeError(error)).not.toContain(hidden);
      }),
    );
  });

  it("done twice changes nothing more", () => {
    fc.assert(
      fc.property(fc.string(), secret, (text, hidden) => {
        const once = redactText(`${text} postgres://u:${text}@h /bot${hidden}/x`);
        expect(redactText(once)).toBe(once);
      }),
    );
  });
});
