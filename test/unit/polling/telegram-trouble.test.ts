import { beforeEach, describe, expect, it } from "vitest";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

describe("trouble that passes", () => {
  const kinds = [
    "too-many-requests",
    "internal-error",
    "bad-gateway",
    "bad-gateway-html",
    "not-found-html",
    "reset-before",
    "reset-after",
    "silent",
  ] as const;
  for (const kind of kinds) {
    it(`${kind}: is waited out, and nothing is lost or answered twice`, async () => {
      const a = world.start("a", { options: { polling: { timeoutSeconds: 5 } } });
      await world.advance(100);
      world.api.injectFault({ kind, method: "getUpdates", times: 3, retryAfter: 2 });

      for (let index = 0; index < 5; index += 1) {
        world.push();
        await world.advance(1_000);
      }
      await world.until(() => a.handled.length === 5);
      await world.advance(1_000);

      expect(world.api.counters()).toMatchObject({ answered: 5, repeatedAnswers: 0, lost: 0 });
      expect(a.outcome.done).toBeUndefined();
    });
  }

  it("429 is waited out for as long as it says", async () => {
    world.start("a");
    await world.advance(100);
    world.api.injectFault({ kind: "too-many-requests", method: "getUpdates", retryAfter: 7 });
    world.push();
    await world.advance(50);
    const refused = world.polls("a").length;
    const [from] = world.calls("a", "getUpdates").slice(-1) as [number];

    await world.until(() => world.polls("a").length > refused);

    expect((world.polls("a").at(-1)?.at ?? 0) - from).toBeGreaterThanOrEqual(7_000);
    expect((world.polls("a").at(-1)?.at ?? 0) - from).toBeLessThan(7_010);
  });

  it("a server that stays silent costs one poll timeout and ten seconds, not minutes", async () => {
    const a = world.start("a", { options: { polling: { timeoutSeconds: 5 } } });
    await world.advance(100);
    world.api.injectFault({ kind: "silent", method: "getUpdates" });
    world.push();
    await world.advance(10);
    world.push();
    const from = world.time.nowMs;

    await world.until(() => a.handled.length === 2);

    expect(world.time.nowMs - from).toBeLessThan(16_500);
  });
});

describe("a plugin of bot.api", () => {
  const fault = new TypeError("the plugin has a fault");
  it.each([
    {
      how: "throws",
      act: () => {
        throw fault;
      },
    },
    { how: "rejects", act: () => Promise.reject(fault) },
    { how: "never answers, whatever its signal says", act: () => new Promise<never>(() => {}) },
    { how: "answers with what is no answer", act: async () => undefined },
  ])(
    "that $how is trouble that passes: the bot polls, and nothing is lost or answered twice",
    async ({ act }) => {
      const faulty = { getMe: 2, getWebhookInfo: 1, getUpdates: 3 };
      const a = world.start("a", {
        options: { polling: { timeoutSeconds: 5 } },
        configure: (bot) =>
          bot.api.config.use((call, method, ...rest) => {
            const left = faulty[method as keyof typeof faulty] ?? 0;
            if (left === 0) return call(method, ...rest);
            Object.assign(faulty, { [method]: left - 1 });
            return act() as never;
          }),
      });
      for (let index = 0; index < 3; index += 1) world.push();

      await world.until(() => a.handled.length === 3, 300_000);
      await world.advance(10_000);

      expect(faulty).toEqual({ getMe: 0, getWebhookInfo: 0, getUpdates: 0 });
      expect(world.api.counters()).toMatchObject({ answered: 3, repeatedAnswers: 0, lost: 0 });
      expect(a.outcome.done).toBeUndefined();
    },
  );
});

describe("a slow network", () => {
  it.each([6, 15])("of %i s each way: the bot polls and answers all the same (P33)", async (seconds) => {
    world.latencyMs = seconds * 1_000;
    const a = world.start("a");
    const first = world.push();
    await world.advance(10 * 60_000);
    // A quiet poll, too, is waited for as long as this network takes.
    expect(a.session.health().telegramTrouble).toBeUndefined();
    const second = world.push();
    await world.advance(5 * 60_000);

    expect(a.handled).toEqual([first, second]);
    expect(a.outcome.done).toBeUndefined();
    expect(world.locks.holderOf(String(world.account.id))).toBeDefined();
  });
});

describe("trouble that stays", () => {
  it("is told when it begins, at growing intervals, and when it is over", async () => {
    const a = world.start("a");
    await world.advance(100);
    const heal = world.api.injectFault({
      kind: "internal-error",
      method: "getUpdates",
      times: null,
    });
    world.push();
    await world.advance(20 * 60_000);
    const told = () =>
      a.logs.filter(({ level, message }) => level === "warn" && message.startsWith("Telegram did not"));
    const lasted = told().map(({ fields }) => (fields as { forSeconds?: number }).forSeconds ?? 0);

    const planned = [0, 10, 30, 60, 300, 900];
    expect(lasted.length).toBe(planned.length);
    // With the first failure after each moment; failures come every 10 s at most.
    for (const [index, plan] of planned.entries()) {
      expect(lasted[index]).toBeGreaterThanOrEqual(plan);
      expect(lasted[index]).toBeLessThanOrEqual(plan + 12);
    }
    heal.remove();
    await world.advance(45_000);
    expect(
      a.logs.filter(({ message }) => message.startsWith("Telegram answers again after 12")),
    ).toHaveLength(1);
    expect(a.handled.length).toBe(1);
  });

  it("401 ends polling, but only the second one, 5 s later, once polling had worked", async () => {
    const a = world.start("a");
    await world.advance(100);
    world.push();
    await world.advance(100);
    world.api.injectFault({ kind: "unauthorized", method: "getUpdates" });
    world.push();
    await world.advance(6_000);
    expect(a.outcome.done).toBeUndefined();

    world.api.injectFault({ kind: "unauthorized", method: "getUpdates", times: 2 });
    world.push();
    const from = world.time.nowMs;
    await world.until(() => a.outcome.done !== undefined);

    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_UNAUTHORIZED" } });
    expect(world.time.nowMs - from).toBeGreaterThanOrEqual(5_000);
  });

  it("a bad token at the start ends polling at once", async () => {
    world.api.revoke(world.account.id);
    const a = world.start("a");

    await world.advance(100);

    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_UNAUTHORIZED" } });
  });

  it("any other refusal ends polling with ERR_TELEGRAM", async () => {
    const a = world.start("a");
    await world.advance(100);
    world.api.call(
      { token: world.account.token, method: "logOut", args: new Map(), instance: "admin" },
      () => {},
    );

    await world.until(() => a.outcome.done !== undefined);

    expect(a.outcome.done).toMatchObject({ error: { code: "ERR_TELEGRAM" } });
  });
});

describe("allowedUpdates", () => {
  it.each([
    { given: ["message"] as const, sent: ["message"] },
    { given: undefined, sent: [] },
  ])("$given goes as $sent with the polls of a lease until one was answered", async ({ given, sent }) => {
    const seen: unknown[] = [];
    const options = given ? { polling: { allowedUpdates: given } } : {};
    world.start("a", {
      options,
      configure: (bot) =>
        bot.api.config.use((prev, method, payload, signal) => {
          if (method === "getUpdates") seen.push((payload as { allowed_updates?: unknown }).allowed_updates);
          return prev(method, payload, signal);
        }),
    });
    await world.advance(100);
    world.push();
    await world.advance(100);

    expect(seen).toEqual([sent, undefined]);
  });

  it.each([
    { asked: undefined, told: ["chat_member", "message_reaction"] },
    { asked: ["message", "message_reaction"] as const, told: ["chat_member"] },
    { asked: ["message", "chat_member", "message_reaction"] as const, told: undefined },
  ])("$asked: listeners that Telegram will never call are told", async ({ asked, told }) => {
    const a = world.start("a", {
      options: asked ? { polling: { allowedUpdates: asked } } : {},
      configure: (bot) => {
        bot.on("chat_member", () => {});
        bot.reaction("👍", () => {});
        // Its shortcut names channel posts too: nobody has to ask for those.
        bot.command("start", () => {});
      },
    });
    await world.advance(100);

    const warnings = a.logs.filter(({ message }) => message.startsWith("listeners that are never called"));
    expect(warnings.map(({ fields }) => (fields as { kinds: string[] }).kinds)).toEqual(told ? [told] : []);
  });

  it("that a webhook has left behind do not stick: callback queries come again", async () => {
    const args = new Map([
      ["url", "https://example.org/hook"],
      ["allowed_updates", '["message"]'],
    ]);
    world.api.call({ token: world.account.token, method: "setWebhook", args, instance: "admin" }, () => {});
    world.start("a");
    await world.advance(1_000);

    expect(world.api.state(world.account.id).allowedUpdates).toContain("callback_query");
  });
});

describe("handlers", () => {
  it("run one at a time and in order by default", async () => {
    const log: string[] = [];
    world.start("a", {
      onMessage: async (text) => {
        log.push(`begin ${text}`);
        await new Promise((resolve) => world.clock.setTimer(() => resolve(undefined), 50));
        log.push(`end ${text}`);
      },
    });
    for (const text of ["1", "2", "3"]) world.push(text);

    await world.advance(1_000);

    expect(log).toEqual(["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
  });

  it("run side by side with concurrency, never more than that", async () => {
    let running = 0;
    let most = 0;
    const a = world.start("a", {
      options: { concurrency: 3 },
      onMessage: async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => world.clock.setTimer(() => resolve(undefined), 50));
        running -= 1;
      },
    });
    for (let index = 0; index < 20; index += 1) world.push();

    await world.until(() => a.handled.length === 20);
    await world.advance(1_000);

    expect(most).toBe(3);
    expect(world.api.counters()).toMatchObject({ answered: 20, repeatedAnswers: 0 });
  });

  it("that throw go to bot.catch, and polling goes on", async () => {
    const caught: unknown[] = [];
    const a = world.start("a", {
      onMessage: (text) => {
        if (text === "bad") throw new Error("boom");
      },
      configure: (bot) => bot.catch((error) => void caught.push((error.error as Error).message)),
    });
    world.push("bad");
    world.push("good");

    await world.until(() => a.handled.length === 2);

    expect(caught).toEqual(["boom"]);
    expect(a.events.some(({ type }) => type === "handlerError")).toBe(false);
  });

  it("that throw without bot.catch, or with one that throws, are reported redacted and count as done", async () => {
    const token = world.account.token;
    for (const configure of [
      (bot: import("grammy").Bot) =>
        Object.assign(bot, {
          errorHandler: new (bot.constructor as typeof import("grammy").Bot)(token).errorHandler,
        }),
      (bot: import("grammy").Bot) =>
        bot.catch(() => {
          throw new Error(`catch failed with ${token}`);
        }),
    ]) {
      world = new VirtualWorld();
      const a = world.start("a", {
        onMessage: () => {
          throw new Error(`handler failed with ${world.account.token}`);
        },
        configure,
      });
      world.push();
      world.push();

      await world.until(() => a.handled.length === 2);
      await world.advance(100);

      const errors = eventsOf(a, "handlerError");
      expect(errors.length).toBe(2);
      expect(errors[0]?.payload.error.message).toMatch(/failed with <token>/);
      expect(JSON.stringify(a.logs)).not.toContain(world.account.token);
      expect(a.session.state).toBe("polling");
    }
  });
});

describe("what bot.start() bears is borne here too", () => {
  it("getWebhookInfo that is refused or not answered ends nothing (P16)", async () => {
    for (const kind of ["unauthorized", "internal-error", "silent"] as const) {
      world = new VirtualWorld();
      world.api.injectFault({ kind, method: "getWebhookInfo", times: null });
      const a = world.start("a");
      world.push();

      await world.until(() => a.handled.length === 1, 30_000);
    }
  });

  it("one refusal of getUpdates, before or after the first answer (P37)", async () => {
    world.api.injectFault({ kind: "unauthorized", method: "getUpdates" });
    const a = world.start("a");
    world.push();
    await world.until(() => a.handled.length === 1, 10_000);

    expect(a.outcome.done).toBeUndefined();
  });

  it("polls that a proxy ends after two seconds: no pause, no warning, and the lease stays (P13)", async () => {
    const a = world.start("a", {
      configure: (bot) =>
        bot.api.config.use((prev, method, payload, signal) => {
          const call = prev(method, payload, signal);
          if (method !== "getUpdates") return call;
          const ended = new Promise<never>((_, reject) =>
            world.clock.setTimer(() => reject(new Error("socket hang up")), 2_000),
          );
          return Promise.race([call, ended]);
        }),
    });
    const b = world.start("b");
    await world.advance(120_000);
    world.push();
    await world.advance(100);

    expect([a.session.state, b.session.state].sort()).toEqual(["polling", "standby"]);
    expect(a.logs.filter(({ level }) => level === "warn")).toEqual([]);
    expect(world.polls("a").length).toBeGreaterThan(50);
    expect(a.handled.length).toBe(1);
  });

  it("answers that are no list are trouble with growing pauses (P25)", async () => {
    let polls = 0;
    const a = world.start("a", {
      configure: (bot) =>
        bot.api.config.use((prev, method, payload, signal) => {
          if (method !== "getUpdates") return prev(method, payload, signal);
          polls += 1;
          return Promise.resolve({ ok: true, result: {} } as never);
        }),
    });
    await world.advance(30_000);

    expect(polls).toBeLessThan(15);
    expect(a.logs.filter(({ level }) => level === "warn").length).toBeLessThan(3);
  });

  it("a 409 with an unknown text is looked up: a webhook is no other poller (P17)", async () => {
    let isRefused = false;
    const a = world.start("a", {
      configure: (bot) =>
        bot.api.config.use((prev, method, payload, signal) => {
          if (method === "getWebhookInfo" && isRefused) {
            return Promise.resolve({ ok: true, result: { url: "https://example.org" } } as never);
          }
          if (method !== "getUpdates" || isRefused) return prev(method, payload, signal);
          isRefused = true;
          const description = "Conflict: webhook ist aktiv";
          return Promise.resolve({ ok: false, error_code: 409, description } as never);
        }),
    });
    await world.advance(1_000);

    expect(eventsOf(a, "conflict").map(({ payload }) => payload)).toEqual([
      { kind: "webhook-active", seenBy: "409" },
    ]);
    expect(world.calls("a", "deleteWebhook").length).toBe(1);
    expect(a.session.state).toBe("polling");
  });

  it("every poll has a signal of its own, so that grammY's listeners do not pile up (P27)", async () => {
    const signals = new Set<unknown>();
    let polls = 0;
    world.start("a", {
      configure: (bot) =>
        bot.api.config.use((prev, method, payload, signal) => {
          if (method === "getUpdates") {
            polls += 1;
            signals.add(signal);
          }
          return prev(method, payload, signal);
        }),
    });
    for (let index = 0; index < 15; index += 1) {
      world.push();
      await world.advance(50);
    }

    expect(polls).toBeGreaterThan(15);
    expect(signals.size).toBe(polls);
  });

  it("a handler that registers listeners is warned of, once (P38)", async () => {
    const a = world.start("a", { onMessage: () => void a.bot.on("message:photo", () => {}) });
    for (let index = 0; index < 3; index += 1) world.push();
    await world.until(() => a.handled.length === 3);
    await world.advance(100);

    expect(a.logs.filter(({ message }) => message.includes("listeners were registered")).length).toBe(1);
  });
});
