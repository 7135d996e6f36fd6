import { describe, expect, it } from "vitest";
import { BotFleet } from "../tools/bot-fleet.js";

describe("an unobserved rejection of done", () => {
  it("crashes the process, after the failed state, without the token in the stack", async () => {
    await using fleet = await BotFleet.start();
    fleet.api.injectFault({ kind: "unauthorized", times: null });
    const a = fleet.instance("a", { watch: "nothing" });

    expect((await a.exited).code).toBe(1);
    expect(a.output).toMatch(/SafePollingError: Telegram does not accept the bot token/);
    expect(a.lines.some(({ event, state }) => event === "state" && state === "failed")).toBe(true);
  });

  it("does not crash it when started() delivered the same error", async () => {
    await using fleet = await BotFleet.start();
    fleet.api.injectFault({ kind: "unauthorized", times: null });
    const a = fleet.instance("a", { watch: "started" });

    expect(await a.exited).toEqual({ code: 0, signal: null });
    expect(await a.line("started rejected")).toMatchObject({ code: "ERR_UNAUTHORIZED" });
  });
});

describe("started()", () => {
  it("resolves with nothing when stopped in standby, which ends as any stop", async () => {
    await using fleet = await BotFleet.start();
    await fleet.poller("a");
    const b = fleet.instance("b", { watch: "started" });
    await b.line("standby");

    b.kill("SIGTERM");

    await b.line("started");
    expect(await b.exited).toEqual({ code: 0, signal: null });
  });
});

describe("the token is not printed, at the most verbose level,", () => {
  const faults = [
    "reset-before",
    "bad-gateway-html",
    "internal-error",
    "unauthorized",
    "not-found-html",
  ] as const;
  for (const kind of faults) {
    it(`by ${kind} on every call`, async () => {
      await using fleet = await BotFleet.start();
      fleet.api.injectFault({ kind, times: null });
      const a = fleet.instance("a", { watch: "nothing" });
      await a.line("log", {
        message: kind === "unauthorized" ? "polling has ended, and does not go on" : /did not answer/,
      });

      a.kill("SIGTERM");
      await a.exited;
      // BotFleet looks through the output when it is disposed.
      expect(a.output.length).toBeGreaterThan(100);
    });
  }

  it("by a refused connection", async () => {
    await using fleet = await BotFleet.start();
    const a = fleet.instance("a", { apiRoot: "http://127.0.0.1:65535", watch: "nothing", logs: false });
    await a.line("stderr", { text: /did not answer/ });

    a.kill("SIGKILL");
    await a.exited;
    expect(a.output).toMatch(/ECONNREFUSED|Connection refused|fetch failed/);
  });

  it("by a handler that throws without bot.catch, whose process goes on", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { throws: true, catches: false });
    fleet.push("one");
    fleet.push("two");

    await a.line("handlerError", { message: /handler failed, told with <token>/ });
    await a.line("handling", { text: "two" });
    a.kill("SIGTERM");

    expect((await a.exited).code).toBe(0);
    expect(fleet.api.counters().pending).toBe(0);
  });

  it("by the console logger", async () => {
    await using fleet = await BotFleet.start();
    const a = await fleet.poller("a", { throws: true, catches: false, logs: false });
    fleet.push("one");
    await a.line("handlerError");

    a.kill("SIGTERM");

    expect((await a.exited).code).toBe(0);
    expect(a.output).toContain("[safe-polling]");
  });
});
