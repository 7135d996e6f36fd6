import { pollOverlaps } from "grammy-safe-polling/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BotFleet, type Instance, until } from "../tools/bot-fleet.js";
import { type LockServer, startLockServer } from "../tools/lock-servers.js";

const leaseMs = 2_000;

for (const name of ["postgres", "redis"] as const) {
  describe(`bots on the ${name} lock`, () => {
    let server: LockServer;
    beforeAll(async () => {
      server = await startLockServer(name);
    });
    afterAll(() => server[Symbol.asyncDispose]());

    async function holderAndStandby(fleet: BotFleet): Promise<[Instance, Instance]> {
      const a = await fleet.poller("a");
      const b = fleet.instance("b");
      await b.line("standby");
      return [a, b];
    }

    it("are taken over after SIGKILL, and what was being handled comes again", async () => {
      await using fleet = await BotFleet.start(server.choice({ leaseMs }));
      const a = await fleet.poller("a", { handlerMs: 60_000 });
      const b = fleet.instance("b");
      await b.line("standby");
      fleet.push("one");
      await a.line("handling");

      a.kill("SIGKILL");
      await b.line("handled", { text: "one" });

      expect(fleet.api.counters()).toMatchObject({ answered: 1, lost: 0 });
      expect(fleet.live409s).toBe(0);
    });

    it("a holder frozen for longer than its lease sends no poll when it goes on", async () => {
      await using fleet = await BotFleet.start(server.choice({ leaseMs }));
      const [a, b] = await holderAndStandby(fleet);
      const id = fleet.push("one");
      await fleet.api.waitForEvent(
        "parked",
        (event) => (fleet.polls(a).at(-1)?.offset ?? 0) > id && event.instance === "a",
      );

      a.kill("SIGSTOP");
      await fleet.polling(b);
      // What it had parked at Telegram was a dead poll from the moment that another was granted the lease.
      fleet.api.markLeaseEnded("a", (await b.line("acquired")).at);
      const polls = fleet.polls(a).length;
      a.kill("SIGCONT");
      await a.line("lost");
      await a.state("standby");
      fleet.push("two");
      await b.line("handled", { text: "two" });

      expect(fleet.polls(a).length).toBe(polls);
      expect(fleet.api.counters()).toMatchObject({ answered: 2, repeatedAnswers: 0, lost: 0 });
      expect(fleet.live409s).toBe(0);
    });

    it("a holder cut off by a silent proxy stops before another can poll, which does within a lease and a second", async () => {
      await using proxy = await server.proxy();
      await using fleet = await BotFleet.start(server.choice({ leaseMs }));
      const a = await fleet.poller("a", { lock: server.choice({ leaseMs, through: proxy }) });
      const b = fleet.instance("b");
      await b.line("standby");

      const from = Date.now();
      proxy.silence();
      const lost = await a.line("lost");
      await fleet.polling(b);
      const tookOver = Date.now() - from;

      expect(lost).toMatchObject({ reason: "expired" });
      expect(lost.at - from).toBeLessThan(leaseMs);
      expect(tookOver).toBeLessThan(leaseMs + 1_000);
      expect(pollOverlaps(fleet.api.events)).toEqual([]);
      expect(fleet.live409s).toBe(0);
    });

    it("a lock server that freezes stops its holder in time; thawed, one of them polls again by itself", async () => {
      await using fleet = await BotFleet.start(server.choice({ leaseMs }));
      const [a, b] = await holderAndStandby(fleet);

      const from = Date.now();
      await server.freeze();
      const lost = await a.line("lost");
      expect(lost.at - from).toBeLessThan(leaseMs);
      server.thaw();
      fleet.push("after");
      await until(fleet.api, "answered", () => fleet.api.counters().answered === 1);

      expect(fleet.api.counters()).toMatchObject({ repeatedAnswers: 0, lost: 0 });
      expect(pollOverlaps(fleet.api.events)).toEqual([]);
      expect([a, b].every(({ process }) => process.exitCode === null)).toBe(true);
    });

    it("a lock server that is killed and restarted costs a pause, no duplicate and no crash", async () => {
      // Long enough for the server to be back before the trust in the lease is over.
      await using fleet = await BotFleet.start(server.choice({ leaseMs: 6_000 }));
      const [a, b] = await holderAndStandby(fleet);

      await server.kill();
      await server.start();
      if (name === "postgres") await a.line("lost");
      else await a.line("log", { message: /the lease goes on over a new connection/ });
      fleet.push("after");
      await until(fleet.api, "answered", () => fleet.api.counters().answered === 1);

      expect(a.lines.some(({ event }) => event === "lost")).toBe(name === "postgres");
      expect(fleet.api.counters()).toMatchObject({ repeatedAnswers: 0, lost: 0 });
      expect(pollOverlaps(fleet.api.events)).toEqual([]);
      expect([a, b].every(({ process }) => process.exitCode === null)).toBe(true);
    });

    it("a handler that blocks the event loop for longer than the lease loses it, and nobody polls twice", async () => {
      await using fleet = await BotFleet.start(server.choice({ leaseMs }));
      const a = await fleet.poller("a", { blockMs: 3_000 });
      const b = fleet.instance("b");
      await b.line("standby");

      fleet.push("heavy");
      await fleet.polling(b);
      await a.line("lost");

      const stale = fleet.polls(a).filter(({ at }) => at > (fleet.polls(b)[0]?.at ?? 0));
      expect(stale).toEqual([]);
      expect(fleet.live409s).toBe(0);
    });

    it("fifty bots of one process are taken over when it dies", async () => {
      await using fleet = await BotFleet.start(server.choice({ leaseMs }));
      const tokens = [fleet.token, ...Array.from({ length: 49 }, () => fleet.api.addBot().token)];
      const a = fleet.instance("a", { tokens });
      for (let bot = 0; bot < tokens.length; bot += 1) await a.line("state", { state: "polling", bot });
      const b = fleet.instance("b", { tokens });
      for (let bot = 0; bot < tokens.length; bot += 1) await b.line("standby", { bot });

      a.kill("SIGKILL");
      for (let bot = 0; bot < tokens.length; bot += 1) await b.line("state", { state: "polling", bot });

      expect(fleet.live409s).toBe(0);
    });

    it("a process that is stopped while it cannot reach the lock server ends by itself", async () => {
      const proxy = await server.proxy();
      const lock = server.choice({ leaseMs, through: proxy });
      await using fleet = await BotFleet.start(lock);
      await proxy.close();
      const a = fleet.instance("a");
      for (let attempts = 0, from = 0; attempts < 4; attempts += 1) {
        from = a.lines.indexOf(await a.line("log", { message: /cannot be reached/ }, from)) + 1;
      }

      a.kill("SIGTERM");

      expect(await a.exited).toEqual({ code: 0, signal: null });
    });

    it("a stopped process ends by itself", async () => {
      await using fleet = await BotFleet.start(server.choice({ leaseMs }));
      const [a, b] = await holderAndStandby(fleet);

      b.kill("SIGTERM");
      a.kill("SIGTERM");

      expect(await Promise.all([a.exited, b.exited])).toEqual(Array(2).fill({ code: 0, signal: null }));
    });
  });
}
