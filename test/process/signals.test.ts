import { describe, expect, it } from "vitest";
import { BotFleet, type Line } from "../tools/bot-fleet.js";

const eventsOf = (lines: readonly Line[]) => lines.map(({ event }) => event);

describe("a stop signal", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`${signal}: code after \`await polling.done\` runs, and the process ends by itself with code 0`, async () => {
      await using fleet = await BotFleet.start();
      const a = fleet.instance("a", { cleanupMs: 300 });
      await a.state("polling");

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
    const a = fleet.instance("a", { keepAlive: true });
    await a.state("polling");

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: null, signal: "SIGTERM" });
    expect(eventsOf(a.lines)).toContain("after done");
  });

  it("is not raised again where the process only stood still, and then ends by itself", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { cleanupBlockMs: 1_500 });
    await a.state("polling");

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(eventsOf(a.lines)).toContain("after done");
  });

  it("is left to an app that listens itself, which may take its time", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { appListens: true, appCleanupMs: 2_000 });
    await a.state("polling");

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(eventsOf(a.lines)).toEqual(
      expect.arrayContaining(["app got SIGTERM", "after done", "app is done"]),
    );
  });

  it("that is doubled within a second is one", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { handlerMs: 700 });
    await a.state("polling");
    fleet.push("one");
    await a.line("handling");

    a.kill("SIGINT");
    await a.state("draining");
    a.kill("SIGINT");

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(fleet.api.counters()).toMatchObject({ answered: 1, pending: 0 });
  });

  it("a second time, more than a second later, ends the process at once with 128 + its number", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { handlerMs: 60_000, options: { drainTimeoutMs: 30_000 } });
    await a.state("polling");
    fleet.push("one");
    await a.line("handling");
    a.kill("SIGTERM");
    const first = await a.state("draining");

    // The second one counts from 1 s on: sent again and again until the process is gone.
    const again = setInterval(() => a.kill("SIGTERM"), 100);
    const { code } = await a.exited;
    clearInterval(again);

    expect(code).toBe(143);
    expect(Date.now() - first.at).toBeGreaterThan(900);
  });

  it("during standby ends the standby, and the holder goes on", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a");
    await a.state("polling");
    const b = fleet.instance("b");
    await b.line("standby");

    b.kill("SIGTERM");

    expect(await b.exited).toEqual({ code: 0, signal: null });
    fleet.push("one");
    await a.line("handled");
  });

  it("is not listened to with signals: false", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { options: { signals: false } });
    await a.state("polling");

    a.kill("SIGTERM");

    expect(await a.exited).toEqual({ code: null, signal: "SIGTERM" });
    expect(eventsOf(a.lines)).not.toContain("done");
  });
});

describe("stop()", () => {
  it("lets the process end by itself: no timer, socket or listener is left", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a");
    await a.state("polling");
    fleet.push("one");
    await a.line("handled");

    a.tell("stop");

    expect(await a.exited).toEqual({ code: 0, signal: null });
  });

  it("of an idle bot does not take the three seconds of a repeated offset", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a");
    await a.state("polling");
    const from = performance.now();

    a.tell("stop");
    await a.line("stop done");

    expect(performance.now() - from).toBeLessThan(2_000);
  });
});

describe("a stopped holder", () => {
  it("whose handler outlives the drain time names the update, releases the lock and ends", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { handlerMs: 3_000, options: { drainTimeoutMs: 200 } });
    await a.state("polling");
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
