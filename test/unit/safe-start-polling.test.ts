import { Bot } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { memoryLock } from "grammy-safe-polling/memory";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let api: BotApiEmulator;

beforeEach(async () => {
  api = await startBotApi();
});
afterEach(() => api.stop());

const options = { lock: memoryLock(), logger: false, signals: false } as const;
const newBot = (account = api.bot) => new Bot(account.token, { client: { apiRoot: api.url } });

describe("safeStartPolling", () => {
  it("returns at once, and nothing happens before the next tick", async () => {
    const polling = safeStartPolling(newBot(), options);

    expect(polling.state).toBe("starting");
    expect(api.events).toEqual([]);
    await polling.started();
    await polling.stop();
  });

  it("throws for a bot that is polled already, by us or by bot.start()", async () => {
    const bot = newBot();
    const polling = safeStartPolling(bot, options);
    expect(() => safeStartPolling(bot, options)).toThrow(
      expect.objectContaining({ code: "ERR_ALREADY_RUNNING" }),
    );
    await polling.stop();

    const other = newBot();
    const running = other.start().catch(() => {});
    expect(() => safeStartPolling(other, options)).toThrow(/bot\.start\(\)/);
    await other.stop();
    await running;
  });

  it("can be called again for the same bot once it has stopped, and goes on where it was", async () => {
    const bot = newBot();
    let handle: (text: string) => void = () => {};
    bot.on("message:text", (ctx) => handle(ctx.message.text));
    for (const text of ["one", "two"]) {
      const handled = new Promise<string>((resolve) => {
        handle = resolve;
      });
      const polling = safeStartPolling(bot, options);
      api.pushMessage(api.bot.id, text);

      expect(await handled).toBe(text);
      await polling.stop();
    }

    expect(api.counters()).toMatchObject({ pending: 0, deliveries: 2 });
  });

  it("sets bot.botInfo before the first poll, and leaves isRunning() false", async () => {
    const bot = newBot();
    const polling = safeStartPolling(bot, options);

    await polling.started();

    expect(bot.botInfo.id).toBe(api.bot.id);
    expect(bot.isRunning()).toBe(false);
    await polling.stop();
  });

  it("stops when its signal aborts, also when that was before the start", async () => {
    const controller = new AbortController();
    const polling = safeStartPolling(newBot(), { ...options, signal: controller.signal });
    await polling.started();
    controller.abort();
    await polling.done;
    expect(polling.state).toBe("stopped");

    const late = safeStartPolling(newBot(), { ...options, signal: controller.signal });
    await late.done;
    await expect(late.started()).rejects.toMatchObject({ code: "ERR_STOPPED" });
  });

  it("works with `await using`", async () => {
    let state = (): string => "";
    {
      await using polling = safeStartPolling(newBot(), options);
      state = () => polling.state;
      await polling.started();
    }

    expect(state()).toBe("stopped");
  });

  it("lets one of two Bot objects with one token poll at a time", async () => {
    const first = safeStartPolling(newBot(), options);
    const lease = await first.started();
    const second = safeStartPolling(newBot(), options);
    expect(second.lease).toBeUndefined();
    await first.stop();

    const next = await second.started();

    expect(next.token).toBeGreaterThan(lease.token);
    await second.stop();
  });

  it("tells listeners, which may throw or leave, and reports plain data", async () => {
    const polling = safeStartPolling(newBot(), options);
    const states: string[] = [];
    polling.on("state", () => {
      throw new Error("a listener's own trouble");
    });
    const remove = polling.on("state", ({ state }) => states.push(state));
    let once = 0;
    polling.once("state", () => {
      once += 1;
    });
    await polling.started();
    expect(JSON.parse(JSON.stringify(polling.health()))).toMatchObject({
      state: "polling",
      key: String(api.bot.id),
      lock: { name: "memory" },
      conflicts: { "other-poller": 0 },
      updatesHandled: 0,
      handlersRunning: 0,
    });
    remove();
    await polling.stop();

    expect(states).toEqual(["polling"]);
    expect(once).toBe(1);
  });
});
