import { Bot } from "grammy";
import { describe, expect, it } from "vitest";
import { memoryLock } from "../../src/lock/memory.js";
import type { SafePollingOptions } from "../../src/options.js";
import { asTelegramBot } from "../../src/polling/telegram-bot.js";
import { resolveOptions } from "../../src/resolve-options.js";

const token = `123456:${"x".repeat(35)}`;
const bot = asTelegramBot(new Bot(token));
const resolve = (options: unknown) => resolveOptions(bot, options as SafePollingOptions);

describe("defaults", () => {
  it("are those of the documentation", () => {
    expect(resolve({})).toMatchObject({
      lock: { name: "file" },
      key: "123456",
      backoff: { delaysMs: [5_000, 10_000, 15_000, 20_000], jitter: 0.1, isEndless: false },
      onExhausted: "fail",
      startDelayMs: undefined,
      webhook: "delete",
      concurrency: 1,
      polling: { timeoutSeconds: 30, limit: 100, allowedUpdates: undefined },
      drainTimeoutMs: 4_000,
      signals: ["SIGTERM", "SIGINT"],
    });
  });

  it("keep bots of Telegram's test environment apart", () => {
    const testBot = new Bot(token, { client: { environment: "test" } });

    expect(resolveOptions(asTelegramBot(testBot), {}).key).toBe("123456:test");
  });

  it("take an array as backoff for its delays", () => {
    expect(resolve({ backoff: [1, 2] })).toMatchObject({
      backoff: { delaysMs: [1, 2], jitter: 0.1 },
      onExhausted: "fail",
    });
  });
});

describe("a bad option is named, with what was expected and what came:", () => {
  const cases: [given: object, message: string][] = [
    [{ lok: memoryLock() }, "`options` has no option `lok`. Did you mean `lock`?"],
    [{ drop_pending_updates: true }, "Set `skipOlderThanMs`"],
    [{ allowed_updates: [] }, "It is `polling.allowedUpdates` here."],
    [{ timeout: 5 }, "It is `polling.timeoutSeconds` here."],
    [{ limit: 5 }, "It is `polling.limit` here."],
    [{ sink: {} }, "It is `concurrency` here."],
    [{ runner: {} }, "Its options are `concurrency` and `polling"],
    [{ onStart: () => {} }, "Listen to the event instead"],
    [{ leaseMs: 5_000 }, "It is an option of the lock"],
    [{ coldStart: true }, "It is gone: see `skipOlderThanMs`."],
    [{ polling: { allowed_updates: [] } }, "It is `allowedUpdates` here."],
    [{ somethingElse: 1 }, "`options` has no option `somethingElse`. It has: lock, key, backoff"],
    [
      { lock: undefined },
      "Expected `lock` to be a lock backend such as fileLock(), or false, got undefined. Leave it out for the file lock.",
    ],
    [{ lock: "file" }, 'Expected `lock` to be a lock backend such as fileLock(), or false, got "file".'],
    [{ key: "" }, 'Expected `key` to be a non-empty string, got "".'],
    [{ key: "x\0y" }, "Expected `key` to be free of NUL characters"],
    [{ key: "k".repeat(201) }, "Expected `key` to be at most 200 characters long"],
    [{ backoff: { delays: [1] } }, "`backoff` has no option `delays`. Did you mean `delaysMs`?"],
    [{ signals: ["SIGTEM"] }, "Expected `signals` to be an array of signals of this system"],
    [{ exitAfterMs: -1 }, "Expected `exitAfterMs` to be a number from 0"],
    [{ handlerWarnMs: 0 }, "Expected `handlerWarnMs` to be a number from 1"],
    [{ handlerTimeoutMs: 0 }, "Expected `handlerTimeoutMs` to be a number from 1"],
    [{ skipOlderThanMs: "1h" }, "Expected `skipOlderThanMs` to be a number from 1000"],
    [{ skipOlderThanMs: 0 }, "Expected `skipOlderThanMs` to be a number from 1000 to 2147483647, got 0."],
    [{ stopWithParent: "" }, 'Expected `stopWithParent` to be "stdin" or "process", got "".'],
    [{ stopWithParent: true }, 'Expected `stopWithParent` to be "stdin" or "process", got true.'],
    [{ backoff: [-1] }, "Expected `backoff.delaysMs[0]` to be a number from 0 to 2147483647, got -1."],
    [
      { backoff: { delaysMs: "5000" } },
      'Expected `backoff.delaysMs` to be an array of milliseconds, got "5000".',
    ],
    [{ backoff: { jitter: 2 } }, "Expected `backoff.jitter` to be a number from 0 to 1, got 2."],
    [
      { backoff: { onExhausted: "die" } },
      'Expected `backoff.onExhausted` to be "fail" or "exit" or "repeat", got "die".',
    ],
    [
      { backoff: { delaysMs: [], onExhausted: "repeat" } },
      "Expected `backoff.delaysMs` to be a non-empty array",
    ],
    [{ startDelayMs: "10s" }, 'Expected `startDelayMs` to be a number from 0 to 2147483647, got "10s".'],
    [{ webhook: "keep" }, 'Expected `webhook` to be "delete" or "fail", got "keep".'],
    [{ concurrency: 0 }, "Expected `concurrency` to be a whole number >= 1, got 0."],
    [{ concurrency: 1.5 }, "Expected `concurrency` to be a whole number >= 1, got 1.5."],
    [
      { polling: { timeoutSeconds: 51 } },
      "Expected `polling.timeoutSeconds` to be a whole number from 1 to 50, got 51.",
    ],
    [{ polling: { limit: 0 } }, "Expected `polling.limit` to be a whole number from 1 to 100, got 0."],
    [
      { polling: { allowedUpdates: "message" } },
      "Expected `polling.allowedUpdates` to be an array of strings",
    ],
    [{ polling: { timeout: 1 } }, "`polling` has no option `timeout`."],
    [{ beforePolling: {} }, "Expected `beforePolling` to be a function, got an object."],
    [
      { drainTimeoutMs: Number.NaN },
      "Expected `drainTimeoutMs` to be a number from 0 to 2147483647, got NaN.",
    ],
    [{ signals: "SIGTERM" }, "Expected `signals` to be an array of signals of this system"],
    [{ signals: ["SIGKILL"] }, "Expected `signals` to be without SIGKILL and SIGSTOP"],
    [{ signal: {} }, "Expected `signal` to be an AbortSignal, got an object."],
    [{ instance: 7 }, "Expected `instance` to be a non-empty string, got 7."],
    [{ logger: {} }, "Expected `logger` to be a pino-shaped logger"],
  ];
  for (const [given, message] of cases) {
    it(message, () => {
      expect(() => resolve(given)).toThrow(expect.objectContaining({ code: "ERR_INVALID_OPTION" }));
      expect(() => resolve(given)).toThrow(message);
    });
  }

  it.each(["key", "instance"])("a %s that contains the token, which is not printed", (name) => {
    expect(() => resolve({ [name]: `bot ${token}` })).toThrow(
      `Expected \`${name}\` to be something other than the token`,
    );
    expect(() => resolve({ [name]: `bot ${token}` })).not.toThrow(token);
  });

  it("options and a lock that nobody has awaited, which would be the defaults", () => {
    expect(() => resolve(Promise.resolve({ lock: false }))).toThrow("logger), got a promise: await it.");
    expect(() => resolve({ lock: Promise.resolve(memoryLock()) })).toThrow(
      "or false, got a promise: await it.",
    );
  });

  it("options that are no object", () => {
    expect(() => resolve(null)).toThrow("Expected `options` to be an object of options (lock, key, backoff,");
    expect(() => resolve(null)).toThrow("logger), got null.");
    expect(() => resolve([])).toThrow("logger), got an array.");
  });

  it.each([` ${token}`, `${token} `, `"${token}"`, `'${token}'`, token.slice(7), "123456:"])(
    "a token that cannot be one, which is not printed: %j",
    (given) => {
      const make = () => resolveOptions(asTelegramBot(new Bot(given)), {});

      expect(make).toThrow("The bot's token is malformed");
      expect(make).toThrow(expect.objectContaining({ code: "ERR_INVALID_OPTION" }));
      expect(make).not.toThrow("xxx");
    },
  );

  it("a bot that is none", () => {
    expect(() => resolveOptions({} as never, {})).toThrow(
      "Expected `bot` to be a grammY Bot, got an object.",
    );
    expect(() => resolveOptions(undefined as never, {})).toThrow(
      "Expected `bot` to be a grammY Bot, got undefined.",
    );
  });

  it("a poll timeout that the bot's own client would cut", () => {
    const impatient = asTelegramBot(new Bot(token, { client: { timeoutSeconds: 20 } }));

    expect(() => resolveOptions(impatient, {})).toThrow(
      /polling\.timeoutSeconds.*client\.timeoutSeconds \(20\)/,
    );
  });

  it("a poll timeout that the bot's own client would cut by a hair, and none two seconds below it (P12)", () => {
    const client = asTelegramBot(new Bot(token, { client: { timeoutSeconds: 30 } }));
    const polling = (timeoutSeconds: number) =>
      resolveOptions(client, { polling: { timeoutSeconds } }).polling.timeoutSeconds;

    for (const seconds of [29, 30]) expect(() => polling(seconds)).toThrow(/client\.timeoutSeconds \(30\)/);
    expect(polling(28)).toBe(28);
  });
});
