import { Bot, GrammyError } from "grammy";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BotApiEmulator, startBotApi } from "../../../src/testing/bot-api/bot-api-emulator.js";
import { answersTo, deliveriesOf, pollOverlaps } from "../../../src/testing/bot-api/journal-queries.js";
import { type VirtualClock, virtualClock } from "./virtual-clock.js";

/** What this library exists for: grammY alone must show each of these, or the emulator proves nothing. */
describe("plain grammY, on a virtual clock", () => {
  let clock: VirtualClock;
  let emulator: BotApiEmulator;
  const started: Bot[] = [];

  beforeEach(async () => {
    clock = virtualClock();
    emulator = await startBotApi({ clock });
  });

  afterEach(async () => {
    await emulator.stop();
    // Their last calls fail, as nobody is left to answer them.
    await Promise.allSettled(started.splice(0).map((bot) => bot.stop()));
  });

  function newBot(instance: string): Bot {
    const bot = new Bot(emulator.bot.token, { client: { apiRoot: emulator.urlFor(instance) } });
    started.push(bot);
    return bot;
  }

  const parked = (instance: string, after = -1) =>
    emulator.waitForEvent("parked", (event) => event.instance === instance, { after });

  test("the second bot.start() on an idle bot ends the first one by a 409", async () => {
    const first = newBot("a").start();
    first.catch(() => {});
    await parked("a");

    const second = newBot("b");
    second.start().catch(() => {});

    await expect(first).rejects.toSatisfy(
      (error) =>
        error instanceof GrammyError && error.error_code === 409 && /other getUpdates/.test(error.message),
    );
    expect(second.isRunning()).toBe(true);
    expect(emulator.state(emulator.bot.id).parked?.instance).toBe("b");
    expect(emulator.counters().conflicts["other-poller"]).toEqual({ live: 1, zombie: 0 });
    expect(pollOverlaps(emulator.events)).toHaveLength(1);
  });

  test("a busy bot that is started twice handles updates twice, without any 409", async () => {
    const { id: botId } = emulator.bot;
    let finish = () => {};
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const handle = (bot: Bot) =>
      bot.on("message", async (ctx) => {
        await ctx.reply("done", { reply_parameters: { message_id: ctx.msg.message_id } });
        await slow;
      });
    const updateId = emulator.pushMessage(botId, "hello")!;
    for (const instance of ["a", "b"]) {
      const bot = newBot(instance);
      handle(bot);
      bot.start().catch(() => {});
      await emulator.waitForEvent("sent", (event) => event.instance === instance);
    }

    expect(deliveriesOf(emulator.events, botId).get(updateId)).toEqual(new Map([["a", 1]]).set("b", 1));
    expect(
      answersTo(emulator.events, botId)
        .get(updateId)
        ?.map(({ instance }) => instance),
    ).toEqual(["a", "b"]);
    expect(emulator.counters()).toMatchObject({
      answered: 1,
      repeatedAnswers: 1,
      duplicates: 1,
      pollerChanges: 1,
    });
    expect(emulator.counters().conflicts["other-poller"]).toEqual({ live: 0, zombie: 0 });
    finish();
  });

  test("bot.stop() of an idle bot that polled less than 3 s ago waits 3 s", async () => {
    const bot = newBot("a");
    const polling = bot.start();
    const { sequence, at } = await parked("a");
    clock.advance(2_999);

    let hasStopped = false;
    const stop = bot.stop().then(() => {
      hasStopped = true;
    });
    const stopCall = await parked("a", sequence);
    expect(stopCall.until - at).toBe(5_999);
    clock.advance(2_999);
    await polling;
    expect(hasStopped).toBe(false);
    clock.advance(1);
    await stop;

    const polls = emulator.events.filter((event) => event.type === "poll");
    expect(polls).toMatchObject([
      { offset: 1, timeoutSeconds: 30, limit: 100 },
      { offset: 1, timeoutSeconds: 3, limit: 1 },
    ]);
    expect(emulator.counters()).toMatchObject({ polls: 2 });
  });

  test("one that polled longer ago stops at once", async () => {
    const bot = newBot("a");
    const polling = bot.start();
    await parked("a");
    clock.advance(3_000);
    await bot.stop();
    await polling;
    expect(clock.now().monotonicMs).toBe(3_000);
  });

  test("bot.stop() in the middle of a handler ends the successor's poll, and nobody polls any more", async () => {
    const old = newBot("old");
    const successor = newBot("new");
    const updateId = emulator.pushMessage(emulator.bot.id, "slow for the old one")!;
    let finish = () => {};
    const handling = new Promise<void>((begun) => {
      old.on("message", () => {
        begun();
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      });
    });
    successor.on("message", () => {});
    const oldPolling = old.start();
    await handling;
    const newPolling = successor.start();
    newPolling.catch(() => {});
    await emulator.waitForEvent("parked", (event) => event.instance === "new");

    const stop = old.stop();

    await expect(newPolling).rejects.toMatchObject({ error_code: 409 });
    clock.advance(3_000);
    await stop;
    finish();
    await oldPolling;
    expect(emulator.state(emulator.bot.id).parked).toBeUndefined();
    expect(emulator.events.findLast((event) => event.type === "poll")).toMatchObject({
      instance: "old",
      offset: updateId + 1,
      timeoutSeconds: 3,
    });
  });
});

test("on the machine's clock, too, bot.stop() takes 3 s", async () => {
  await using emulator = await startBotApi();
  const bot = new Bot(emulator.bot.token, { client: { apiRoot: emulator.url } });
  const polling = bot.start();
  await emulator.waitForEvent("parked");

  const begun = performance.now();
  await bot.stop();

  const tookMs = performance.now() - begun;
  expect(tookMs).toBeGreaterThan(2_950);
  expect(tookMs).toBeLessThan(3_500);
  await polling;
});
