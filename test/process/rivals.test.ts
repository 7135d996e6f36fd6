import { Bot } from "grammy";
import { describe, expect, it } from "vitest";
import { BotFleet } from "../tools/bot-fleet.js";

/** A copy of the bot that knows no lock and polls again at once after each 409. */
function startRogue(fleet: BotFleet) {
  const bot = new Bot(fleet.token, { client: { apiRoot: fleet.api.urlFor("rogue") } });
  const stop = new AbortController();
  const poll = async () => {
    while (!stop.signal.aborted) {
      await bot.api.getUpdates({ timeout: 30 }, stop.signal as never).catch(() => {});
    }
  };
  const ended = poll();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

const backoff = { delaysMs: [200, 400], jitter: 0 } as const;

describe("a rogue poller without the lock", () => {
  it("is met by attempts on schedule; onExhausted: fail rejects done with ERR_CONFLICT", async () => {
    await using fleet = await BotFleet.start();
    await using _rogue = startRogue(fleet);
    const a = fleet.instance("a", { options: { backoff } });

    expect(await a.line("done rejected")).toMatchObject({ code: "ERR_CONFLICT" });
    expect((await a.exited).code).toBe(1);

    const retries = a.lines.filter(({ event }) => event === "retry");
    expect(retries.map(({ attempt, delayMs }) => [attempt, delayMs])).toEqual([
      [1, 200],
      [2, 400],
    ]);
    expect(fleet.polls(a).length).toBe(3);
  });

  it("with onExhausted: exit ends the process gracefully with code 0, whatever keeps it alive", async () => {
    await using fleet = await BotFleet.start();
    await using _rogue = startRogue(fleet);
    const a = fleet.instance("a", {
      options: { backoff: { delaysMs: [], onExhausted: "exit" } },
      keepAlive: true,
    });

    expect(await a.exited).toEqual({ code: 0, signal: null });
    const events = a.lines.map(({ event }) => event);
    expect(events).toContain("released");
    expect(events).toContain("after done");
  });

  it("that outlives the platform's overlap ends the process all the same, after more attempts", async () => {
    await using fleet = await BotFleet.start();
    await using _rogue = startRogue(fleet);
    const a = fleet.instance("a", {
      options: { overlapMs: 8_000, backoff: { delaysMs: [100], jitter: 0, onExhausted: "exit" } },
    });

    expect(await a.exited).toEqual({ code: 0, signal: null });
    const retries = a.lines.filter(({ event }) => event === "retry");
    expect(retries.length).toBeGreaterThan(1);
    expect(fleet.polls(a).length).toBe(retries.length + 1);
  });

  it("with onExhausted: exit stops the other bots of the process first", async () => {
    await using fleet = await BotFleet.start();
    await using _rogue = startRogue(fleet);
    const other = fleet.api.addBot();
    const a = fleet.instance("a", {
      tokens: [fleet.token, other.token],
      options: { backoff: { delaysMs: [], onExhausted: "exit" } },
    });

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(a.lines.filter(({ event }) => event === "done").length).toBe(2);
    expect(a.lines.filter(({ event }) => event === "released").length).toBe(2);
  });

  it("with onExhausted: repeat is fought on, until a signal", async () => {
    await using fleet = await BotFleet.start();
    await using _rogue = startRogue(fleet);
    const a = fleet.instance("a", {
      options: { backoff: { delaysMs: [100], jitter: 0, onExhausted: "repeat" } },
    });
    await a.line("retry", { attempt: 2 });

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
  });
});

describe("two instances without a lock", () => {
  it("are both warned, and start late", async () => {
    await using fleet = await BotFleet.start({ kind: "none" });
    const a = fleet.instance("a", { options: { startDelayMs: 200 } });

    const waiting = await a.line("log", { message: /waiting before the first poll/ });
    await a.state("polling");

    expect(waiting.fields).toMatchObject({ startDelayMs: 200 });
  });
});

describe("auto-retry and the throttler on the bot", () => {
  it("change nothing: a handover under traffic loses nothing, and a stop in trouble is quick", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { plugins: true });
    const b = fleet.instance("b", { plugins: true });
    await b.line("standby");
    fleet.push("one");
    await a.line("handled");

    a.kill("SIGTERM");
    await b.state("polling");
    fleet.push("two");
    await b.line("handled");
    fleet.api.injectFault({ kind: "internal-error", method: "getUpdates", times: null });
    fleet.push("three");
    const from = performance.now();
    b.kill("SIGTERM");

    expect((await b.exited).code).toBe(0);
    expect(performance.now() - from).toBeLessThan(8_000);
    expect(fleet.api.counters()).toMatchObject({ repeatedAnswers: 0, lost: 0 });
    expect(fleet.live409s).toBe(0);
  });
});
