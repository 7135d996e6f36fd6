import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { BotFleet, type Line } from "../tools/bot-fleet.js";

const eventsOf = (lines: readonly Line[]) => lines.map(({ event }) => event);

describe("a stop signal", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`${signal}: code after \`await polling.done\` runs, and the process ends by itself with code 0`, async () => {
      await using fleet = await BotFleet.start();
      const a = await fleet.poller("a", { cleanupMs: 300 });

      a.kill(signal);

      expect(await a.exited).toEqual({ code: 0, signal: null });
      expect(eventsOf(a.lines).slice(-2)).toEqual(["done", "after done"]);
    });
  }

  it("stops every bot of the process, and each `done` resolves", async () => {
    await using fleet = await BotFleet.start();
    const tokens = [fleet.token, ...Array.from({ length: 14 }, () => fleet.api.addBot().token)];
    const a = fleet.instance("a", { tokens });
    for (let bot = 0; bot < tokens.length; bot += 1) await a.line("state", { state: "polling", bot });

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(eventsOf(a.lines).filter((event) => event === "done").length).toBe(15);
    expect(a.output).not.toContain("MaxListenersExceededWarning");
  });

  it("is raised again when something keeps the process alive and the app does not listen", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { keepAlive: true, options: { exitAfterMs: 500 } });

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: null, signal: "SIGTERM" });
    expect(eventsOf(a.lines)).toContain("after done");
    await a.line("log", { level: "warn", message: /keeps the process alive/ });
  });

  it("ends the process all the same where a library listens too and does nothing", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { keepAlive: true, appListens: true, options: { exitAfterMs: 500 } });

    a.kill("SIGTERM");

    // Raised again, it finds nobody who listens once; or the process is ended with its number.
    const { code, signal } = await a.exited;
    expect([code, signal]).toSatisfy((end) => end[0] === 143 || end[1] === "SIGTERM");
    expect(eventsOf(a.lines)).toContain("after done");
  });

  it("ends the process also where a loop starts the bot again, and cuts no handler of that one off", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { restarts: true, handlerMs: 1_500, options: { exitAfterMs: 500 } });

    a.kill("SIGTERM");
    await a.line("state", { state: "stopped" });
    fleet.push("to the one that was started again");
    await a.line("handling");

    const { code, signal } = await a.exited;
    expect([code, signal]).toSatisfy((end) => end[0] === 143 || end[1] === "SIGTERM");
    expect(fleet.api.counters()).toMatchObject({ answered: 1, pending: 0 });
    // Without an end there were a thousand a second.
    expect(a.lines.filter(({ state }) => state === "stopped").length).toBeLessThan(30);
  });

  it("leaves the code behind done the time that it needs", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { cleanupMs: 2_500 });

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(eventsOf(a.lines)).toContain("after done");
  });

  it("that a framework raises again does not cut off a handler", async () => {
    await using fleet = await BotFleet.start();
    const options = { drainTimeoutMs: 10_000 };
    const a = await fleet.poller("a", { handlerMs: 3_000, raisesAgainMs: 1_500, options });
    fleet.push("one");
    await a.line("handling");

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(eventsOf(a.lines)).toContain("raises again");
    expect(fleet.api.counters()).toMatchObject({ answered: 1, pending: 0 });
  });

  it("is not raised again where the process only stood still, and then ends by itself", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { cleanupBlockMs: 1_500 });

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(eventsOf(a.lines)).toContain("after done");
  });

  it("is left to an app that listens itself, which may take its time", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { appListens: true, appCleanupMs: 2_000 });

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(eventsOf(a.lines)).toEqual(
      expect.arrayContaining(["app got SIGTERM", "after done", "app is done"]),
    );
  });

  it("that a handler emits ends the process when that handler has ended", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { emits: "SIGTERM" });
    fleet.push("one");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(fleet.api.counters()).toMatchObject({ answered: 1, pending: 0 });
  });

  it("that is doubled within a second is one", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { handlerMs: 700 });
    fleet.push("one");
    await a.line("handling");

    a.kill("SIGINT");
    await a.state("draining");
    a.kill("SIGINT");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(fleet.api.counters()).toMatchObject({ answered: 1, pending: 0 });
  });

  it("a third time, each more than a second after the one before, ends the process with 128 + its number", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { handlerMs: 60_000, options: { drainTimeoutMs: 30_000 } });
    fleet.push("one");
    await a.line("handling");
    a.kill("SIGTERM");
    const first = await a.state("draining");

    // What comes within a second is a double: sent again and again until the process is gone.
    const again = setInterval(() => a.kill("SIGTERM"), 100);
    const { code } = await a.exited;
    clearInterval(again);

    expect(code).toBe(143);
    expect(Date.now() - first.at).toBeGreaterThan(1_900);
  });

  it("of another kind, more than a second later, ends the process at once", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { handlerMs: 60_000, options: { drainTimeoutMs: 30_000 } });
    fleet.push("one");
    await a.line("handling");
    a.kill("SIGTERM");
    await a.state("draining");

    const again = setInterval(() => a.kill("SIGINT"), 100);
    const { code } = await a.exited;
    clearInterval(again);

    expect(code).toBe(130);
  });

  it("does not reach a worker thread, which a warning tells", async () => {
    await using fleet = await BotFleet.start();
    const worker = new Worker(
      `import { Bot } from "grammy";
       import { parentPort, workerData } from "node:worker_threads";
       import { safeStartPolling } from "grammy-safe-polling";
       const say = (_, message) => parentPort.postMessage(message);
       const logger = { debug() {}, info() {}, warn: say, error: say };
       const bot = new Bot(workerData.token, { client: { apiRoot: workerData.apiRoot } });
       const polling = safeStartPolling(bot, { lock: false, startDelayMs: 0, logger });
       await polling.stop();`,
      {
        eval: true,
        workerData: { token: fleet.token, apiRoot: fleet.api.url },
      },
    );
    const warning = await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    await worker.terminate();

    expect(warning).toMatch(/worker thread/);
  });

  it("during standby ends the standby, and the holder goes on", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a");
    const b = fleet.instance("b");
    await b.line("standby");

    b.kill("SIGTERM");

    expect(await b.exited).toEqual({ code: 0, signal: null });
    fleet.push("one");
    await a.line("handled");
  });

  it("is not listened to with signals: false", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { options: { signals: false } });

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: null, signal: "SIGTERM" });
    expect(eventsOf(a.lines)).not.toContain("done");
  });
});

describe("stop()", () => {
  it("lets the process end by itself: no timer, socket or listener is left", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a");
    fleet.push("one");
    await a.line("handled");

    a.tell("stop");

    expect(await a.exited).toEqual({ code: 0, signal: null });
  });

  it("of an idle bot does not take the three seconds of a repeated offset", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a");
    const from = performance.now();

    a.tell("stop");
    await a.line("stop done");

    expect(performance.now() - from).toBeLessThan(2_000);
  });
});

describe("a stopped holder", () => {
  it("whose handler outlives the drain time names the update, releases the lock and ends", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { handlerMs: 3_000, options: { drainTimeoutMs: 200 } });
    const b = fleet.instance("b");
    await b.line("standby");
    const id = fleet.push("slow");
    await a.line("handling");

    a.kill("SIGTERM");
    await b.line("handled", { updateId: id });

    const warning = await a.line("log", { level: "warn", message: /outlive|still run/ });
    expect(warning.fields).toMatchObject({ updates: [id] });
  });
});
