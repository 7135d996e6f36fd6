import { Bot, HttpError } from "grammy";
import { safeStartPolling } from "grammy-safe-polling";
import { memoryLock } from "grammy-safe-polling/memory";
import { type BotApiEmulator, startBotApi } from "grammy-safe-polling/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

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
    expect(await late.started()).toBeUndefined();
  });

  it("lets many bots share a signal, without a warning of a leak", async () => {
    const warnings: string[] = [];
    const onWarning = ({ name }: Error) => warnings.push(name);
    process.on("warning", onWarning);
    const controller = new AbortController();
    const pollings = Array.from({ length: 11 }, () =>
      safeStartPolling(newBot(api.addBot()), { ...options, signal: controller.signal }),
    );
    await pollings[0]?.stop();
    controller.abort();
    await Promise.all(pollings.map(({ done }) => done));
    process.off("warning", onWarning);

    expect(warnings).toEqual([]);
  });

  it("can be called again after a lock of one's own was refused", async () => {
    const bot = newBot();
    const lock = { ...memoryLock(), pollMs: 5 };
    expect(() => safeStartPolling(bot, { ...options, lock })).toThrow("Expected `memoryLock.pollMs`");

    await safeStartPolling(bot, options).stop();
  });

  it("says what it wants when it is called with nothing", async () => {
    expect(() => safeStartPolling(undefined as never)).toThrow("Expected `bot` to be a grammY Bot");
    const polling = safeStartPolling(newBot(), options);
    expect(() => polling.whileLeading(undefined as never)).toThrow(
      "Expected `task` to be a function, got undefined.",
    );
    await polling.stop();
  });

  it("fails at once where a bot.start() was left below it", async () => {
    const bot = newBot();
    const polling = safeStartPolling(bot, options);
    const leftover = bot.start().catch(() => {});

    await expect(polling.done).rejects.toMatchObject({ code: "ERR_ALREADY_RUNNING" });
    await bot.stop();
    await leftover;
  });

  it("runs what a subclass of Bot does in init(), once, and tries again in trouble", async () => {
    let calls = 0;
    class PreparedBot extends Bot {
      override async init(...given: Parameters<Bot["init"]>) {
        await super.init(...given);
        calls += 1;
        if (calls === 1) throw new HttpError("Network request for 'getMe' failed!", new Error("reset"));
      }
    }
    const polling = safeStartPolling(
      new PreparedBot(api.bot.token, { client: { apiRoot: api.url } }),
      options,
    );

    await polling.started();
    await polling.stop();

    expect(calls).toBe(2);
  });

  it("lets a once listener be taken out by off()", async () => {
    const polling = safeStartPolling(newBot(), options);
    let calls = 0;
    const listener = () => {
      calls += 1;
    };
    polling.once("state", listener);
    polling.off("state", listener);

    await polling.started();
    await polling.stop();

    expect(calls).toBe(0);
  });

  it("keeps a listener that is added once more by once()", async () => {
    const polling = safeStartPolling(newBot(), options);
    const states: string[] = [];
    const listener = ({ state }: { state: string }) => states.push(state);
    polling.on("state", listener);
    polling.once("state", listener);

    await polling.started();
    await polling.stop();

    expect(states).toEqual(["polling", "draining", "stopped"]);
  });

  it("goes on when listeners reject, and when the logger throws or rejects", async () => {
    const rejects = () => Promise.reject(new Error("a logger's own trouble"));
    const throws = () => {
      throw new Error("a logger's own trouble");
    };
    const logger = { debug: rejects, info: throws, warn: rejects, error: throws };
    const polling = safeStartPolling(newBot(), { ...options, logger });
    polling.on("acquired", () => Promise.reject(new Error("a listener's own trouble")));

    await polling.started();
    await polling.stop();

    expect(polling.state).toBe("stopped");
  });

  it("waits for no listener and for no logger", async () => {
    const hangs = () => new Promise<void>(() => {});
    const logger = { debug: hangs, info: hangs, warn: hangs, error: hangs };
    const polling = safeStartPolling(newBot(), { ...options, logger });
    for (const name of ["state", "acquired", "released"] as const) polling.on(name, hangs);

    await polling.started();
    await polling.stop();

    expect(polling.state).toBe("stopped");
  });

  it("takes a Bot of another copy of grammY, whose class is another one", async () => {
    // Without the private members, which make a class of TypeScript equal to itself alone.
    const bot: Pick<Bot, keyof Bot> = newBot();
    const polling = safeStartPolling(bot, options);

    await polling.started();
    await polling.stop();
  });

  it("warns of waits that look like seconds, and of a label that nobody will see", async () => {
    const warnings: string[] = [];
    const log = (_fields: object, message: string) => void warnings.push(message);
    const logger = { debug() {}, info() {}, warn: log, error: log };
    const given = { ...options, lock: memoryLock(), logger };
    const first = safeStartPolling(newBot(), { ...given, instance: "one", backoff: [5, 10, 15, 20] });
    const second = safeStartPolling(newBot(api.addBot()), { ...given, instance: "two" });

    expect(warnings).toEqual([
      expect.stringContaining("they are milliseconds"),
      expect.stringContaining("labelled by the first"),
    ]);
    await Promise.all([first.stop(), second.stop()]);
  });

  it("confirms the update of a handler that stops it when that has returned: process.exit() there came too early", async () => {
    const bot = newBot();
    let pendingInside: number | undefined;
    bot.command("restart", async () => {
      await polling.stop();
      pendingInside = api.counters().pending;
    });
    const polling = safeStartPolling(bot, options);
    api.pushMessage(api.bot.id, "/restart");
    await polling.done;

    expect(pendingInside).toBe(1);
    expect(api.counters().pending).toBe(0);
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

    expect(next?.token).toBeGreaterThan(lease?.token ?? Number.NaN);
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
      updatesLetGo: 0,
      handlersRunning: 0,
    });
    remove();
    await polling.stop();

    expect(states).toEqual(["polling"]);
    expect(once).toBe(1);
  });
});

describe("under faked timers a bot and the emulator", () => {
  afterEach(() => void vi.useRealTimers());

  const fakings: Parameters<typeof vi.useFakeTimers>[] = [
    [{ shouldAdvanceTime: true }],
    [{ toFake: ["Date"] }],
  ];
  it.each(fakings)("work with %j", async (faked) => {
    vi.useFakeTimers(faked);
    const bot = newBot();
    bot.on("message:text", (ctx) => ctx.reply(ctx.message.text));
    const polling = safeStartPolling(bot, options);
    for (const text of ["one", "two"]) {
      api.pushMessage(api.bot.id, text);
      await api.waitForEvent("sent", (sent) => sent.text === text);
      vi.setSystemTime(Date.now() + 3_600_000);
    }
    await polling.stop();

    expect(api.counters()).toMatchObject({ pending: 0, deliveries: 2 });
  });
});
