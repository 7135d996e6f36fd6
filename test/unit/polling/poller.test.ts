import type { Update } from "grammy/types";
import { describe, expect, it, vi } from "vitest";
import type { Clock } from "../../../src/clock.js";
import { silentLogger } from "../../../src/logger.js";
import { createPoller, type Poller } from "../../../src/polling/poller.js";
import type { TelegramBot } from "../../../src/polling/telegram-bot.js";
import { unknownRoundTripMs } from "../../../src/polling/telegram-call.js";
import { UpdateLedger } from "../../../src/polling/update-ledger.js";
import type { WebhookGuard } from "../../../src/polling/webhook-guard.js";
import { VirtualTime } from "../../tools/virtual-time.js";

/** How long the client takes to end a call that was aborted. */
const endingMs = 300;

/** A poller whose polls wait for ever, and end only some time after they were aborted. */
function startPoller() {
  const time = new VirtualTime();
  const clock = time.clock();
  const getUpdates = (_parameters: unknown, signal: AbortSignal) =>
    new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => clock.setTimer(() => reject(new Error("aborted")), endingMs));
    });
  const poller = makePoller(clock, { getUpdates });
  void poller.run();
  return { poller, time };
}

interface Surroundings {
  readonly getUpdates: unknown;
  readonly handleUpdate?: (update: Update) => Promise<void>;
  /** A turn of the event loop. */
  readonly turn?: () => Promise<void>;
  readonly trusted?: () => boolean;
}

function makePoller(clock: Clock, surroundings: Surroundings): Poller {
  const {
    getUpdates,
    handleUpdate = async () => {},
    turn = async () => {},
    trusted = () => true,
  } = surroundings;
  const nothing = () => {};
  return createPoller({
    bot: { api: { getUpdates } } as unknown as TelegramBot,
    context: {
      clock,
      random: () => 0.5,
      logger: silentLogger,
      roundTrip: { ms: unknownRoundTripMs },
      turn,
    },
    ledger: new UpdateLedger(clock),
    webhook: {} as WebhookGuard,
    parameters: { timeoutSeconds: 30, limit: 100, allowedUpdates: undefined },
    concurrency: 1,
    confirm: "handled",
    backoff: { delaysMs: [], jitter: 0, isEndless: false },
    followsAnother: false,
    overlap: { ms: 0, since: clock.now(), isUnlocked: false },
    handle: handleUpdate,
    isProbed: async () => false,
    trusted,
    record: {
      polled: nothing,
      answered: nothing,
      failed: nothing,
      conflict: nothing,
      retry: nothing,
      undisturbed: nothing,
      handling: nothing,
      handled: nothing,
      letGo: nothing,
    },
    onFirstPoll: nothing,
    onSilence: nothing,
  });
}

function parkUntilAborted(_parameters: unknown, signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(new Error("aborted")));
  });
}

/** Notes when a promise resolves. */
function watch(promise: Promise<unknown>, time: VirtualTime) {
  const watched: { resolvedAt?: number } = {};
  void promise.then(() => {
    watched.resolvedAt = time.nowMs;
  });
  return watched;
}

it("a poll is cut when its request has really ended, not when that was asked for", async () => {
  const { poller, time } = startPoller();
  await time.advance(10);

  const cut = watch(poller.stop(), time);
  await time.advance(1_000);

  expect(cut.resolvedAt).toBe(10 + endingMs);
});

it("a cut poll is given two round trips to arrive before the successor's", async () => {
  const { poller, time } = startPoller();
  await time.advance(10);
  void poller.stop();
  await time.advance(endingMs);

  const settled = watch(poller.lastPollArrives(), time);
  await time.advance(1_000);

  // 250 ms each, as long as none was measured.
  expect(settled.resolvedAt).toBe(500);
});

it("a poll that was answered sooner tells that two round trips are no longer than that", async () => {
  const time = new VirtualTime();
  const clock = time.clock();
  let polls = 0;
  const getUpdates = (parameters: unknown, signal: AbortSignal) => {
    polls += 1;
    if (polls > 1) return parkUntilAborted(parameters, signal);
    return new Promise((resolve) => clock.setTimer(() => resolve([{ update_id: 1 }]), 20));
  };
  const poller = makePoller(clock, { getUpdates });
  void poller.run();
  await time.advance(20);
  expect(polls).toBe(2);
  await poller.stop();

  const settled = watch(poller.lastPollArrives(), time);
  await time.advance(1_000);

  expect(settled.resolvedAt).toBe(20 + 2 * 20);
});

it.each([
  { heard: "before a poll", news: 1, polls: 0 },
  { heard: "with the answer", news: 3, polls: 1 },
])("nothing is done any more when the end of the lease is heard $heard", async ({ news, polls }) => {
  const time = new VirtualTime();
  // Long enough for the process to have stood still meanwhile.
  const passes = () => {
    time.nowMs += 51;
  };
  let heard = 0;
  const getUpdates = vi.fn(async () => {
    passes();
    return [{ update_id: 1 }];
  });
  const handleUpdate = vi.fn(async () => {});
  const turn = async () => {
    heard += 1;
  };

  const poller = makePoller(time.clock(), {
    getUpdates,
    handleUpdate,
    turn,
    trusted: () => heard < news,
  });
  passes();
  await poller.run();

  expect(getUpdates).toHaveBeenCalledTimes(polls);
  expect(handleUpdate).not.toHaveBeenCalled();
});

it("a handler that is due when the process has stood still waits for the news", async () => {
  const time = new VirtualTime();
  const clock = time.clock();
  const started: number[] = [];
  let isTrusted = true;
  const poller = makePoller(clock, {
    getUpdates: async () => [{ update_id: 1 }, { update_id: 2 }],
    handleUpdate: async (update) => {
      started.push(update.update_id);
      // While it ran, the process stood still; the end of the lease has arrived, and nobody was told.
      time.nowMs += 1_000;
    },
    turn: async () => {
      isTrusted = started.length === 0;
    },
    trusted: () => isTrusted,
  });

  await poller.run();

  expect(started).toEqual([1]);
});

describe("what a poll told that was cut before Telegram answered it", () => {
  /** A poller that has handled update 1, and whose next poll was cut. Resolves with what the confirmation asked. */
  async function confirmationAfter({ parkedMs, unconfirmed }: { parkedMs: number; unconfirmed: Update[] }) {
    const time = new VirtualTime();
    const asked: object[] = [];
    const answers = [
      async () => [{ update_id: 1 }],
      parkUntilAborted,
      async () => unconfirmed,
      async () => [],
    ];
    const poller = makePoller(time.clock(), {
      handleUpdate: async () => {},
      getUpdates: (parameters: object, signal: AbortSignal) => {
        asked.push(parameters);
        return answers[asked.length - 1]?.(parameters, signal);
      },
    });
    void poller.run();
    await time.advance(parkedMs);
    await poller.stop();
    await poller.confirm(new AbortController().signal);
    return asked.slice(2);
  }
  const short = { timeout: 0, limit: 1 };

  it("is asked for, and told again where it has not arrived", async () => {
    expect(await confirmationAfter({ parkedMs: 10, unconfirmed: [{ update_id: 1 }] })).toEqual([
      { offset: 0, ...short },
      { offset: 2, ...short },
    ]);
  });

  it.each([
    { what: "nothing waits", unconfirmed: [] },
    { what: "only later updates wait", unconfirmed: [{ update_id: 2 }] },
  ])("is not told again where $what: a repeated offset is a 3 s poll", async ({ unconfirmed }) => {
    expect(await confirmationAfter({ parkedMs: 10, unconfirmed })).toEqual([{ offset: 0, ...short }]);
  });

  it("is told again after 3 s, when the server does not stretch it any more: it may have gone into a dead connection", async () => {
    expect(await confirmationAfter({ parkedMs: 3_000, unconfirmed: [] })).toEqual([{ offset: 2, ...short }]);
  });
});

it("update ids that begin again lower, after a week without updates, are confirmed by a stop in their first batch (P30)", async () => {
  const time = new VirtualTime();
  const asked: object[] = [];
  const answers: Update[][] = [[{ update_id: 1_000 }], [{ update_id: 5 }, { update_id: 6 }]];
  const poller = makePoller(time.clock(), {
    handleUpdate: async () => {},
    getUpdates: (parameters: { timeout: number }, signal: AbortSignal) => {
      asked.push(parameters);
      if (parameters.timeout === 0) return Promise.resolve([{ update_id: 5 }]);
      const answer = answers.shift();
      return answer ? Promise.resolve(answer) : parkUntilAborted(parameters, signal);
    },
  });
  void poller.run();
  await time.advance(10);
  await poller.stop();
  await poller.confirm(new AbortController().signal);

  expect(asked).toMatchObject([
    { offset: 0 },
    { offset: 1_001 },
    { offset: 7 },
    { offset: 0 },
    { offset: 7 },
  ]);
});
