import { describe, expect, it } from "vitest";
import { BotFleet, until } from "../tools/bot-fleet.js";

describe("SIGKILL of the holder", () => {
  it("lets the standby take over, and what was being handled comes again", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { handlerMs: 60_000 });
    const b = fleet.instance("b");
    await b.line("standby");
    fleet.push("one");
    await a.line("handling", { text: "one" });

    a.kill("SIGKILL");
    await b.state("polling");
    await b.line("handled", { text: "one" });

    expect((await a.exited).signal).toBe("SIGKILL");
    expect(fleet.api.counters()).toMatchObject({ answered: 1, lost: 0 });
    expect(fleet.live409s).toBe(0);
  });

  it("gives the successor a larger token", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a");
    const first = await a.line("acquired");
    const b = fleet.instance("b");
    await b.line("standby");

    a.kill("SIGKILL");
    const second = await b.line("acquired");

    expect(Number(second.token)).toBeGreaterThan(Number(first.token));
  });
});

describe("SIGSTOP of the holder", () => {
  it("leaves the lock with it: the kernel knows no lease, and nobody polls twice", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a");
    const b = fleet.instance("b");
    await b.line("standby");

    a.kill("SIGSTOP");
    fleet.push("while frozen");
    // The standby goes on asking for the lock; two answers from it, a poll apart, show that it is alive.
    b.tell("health");
    await b.line("health done");
    expect(fleet.polls(b)).toEqual([]);
    a.kill("SIGCONT");
    await a.line("handled", { text: "while frozen" });

    expect(fleet.api.counters()).toMatchObject({ answered: 1, repeatedAnswers: 0 });
    expect(fleet.polls(b)).toEqual([]);
  });
});

describe("a handler that blocks the event loop longer than a lease", () => {
  it("costs nothing with the file lock, and its update is answered once", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { blockMs: 11_000 });
    const b = fleet.instance("b");
    await b.line("standby");

    fleet.push("heavy");
    await a.line("handling");
    await until(fleet.api, "answered", () => fleet.api.counters().answered === 1, 20_000);

    expect(a.lines.some(({ event }) => event === "lost")).toBe(false);
    expect(fleet.api.counters()).toMatchObject({ answered: 1, repeatedAnswers: 0 });
  });
});

describe("resign", () => {
  it("hands over to the standby of another process", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a");
    const b = fleet.instance("b");
    await b.line("standby");

    a.tell("resign");
    await b.state("polling");
    await a.line("resign done");
    await a.line("standby");

    fleet.push("one");
    await b.line("handled", { text: "one" });
    expect(fleet.live409s).toBe(0);
  });
});

describe("many bots on one lock object", () => {
  it("are all taken over when their process dies", async () => {
    await using fleet = await BotFleet.start();
    const tokens = [fleet.token, ...Array.from({ length: 49 }, () => fleet.api.addBot().token)];
    const a = fleet.instance("a", { tokens });
    for (let bot = 0; bot < tokens.length; bot += 1) await a.line("state", { state: "polling", bot });
    const b = fleet.instance("b", { tokens });
    for (let bot = 0; bot < tokens.length; bot += 1) await b.line("standby", { bot });

    a.kill("SIGKILL");
    for (let bot = 0; bot < tokens.length; bot += 1) await b.line("state", { state: "polling", bot });

    expect(fleet.live409s).toBe(0);
  });
});

describe("the default lock", () => {
  it("is a file lock in the state directory, whose path is in the first log line", async () => {
    await using fleet = await BotFleet.start({ kind: "default" });
    const a = await fleet.poller("a");
    const b = fleet.instance("b");

    await b.line("standby");

    const first = a.lines.find(({ event }) => event === "log");
    expect(JSON.stringify(first)).toContain(fleet.stateDirectory);
  });
});
