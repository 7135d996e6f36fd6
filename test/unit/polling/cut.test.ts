import { expect, it, vi } from "vitest";
import type { Clock } from "../../../src/clock.js";
import { silentLogger } from "../../../src/logger.js";
import { Poller } from "../../../src/polling/poller.js";
import { RoundTrip } from "../../../src/polling/round-trip.js";
import type { TelegramBot } from "../../../src/polling/telegram-bot.js";
import { UpdateLedger } from "../../../src/polling/update-ledger.js";
import type { WebhookGuard } from "../../../src/polling/webhook-guard.js";
import { VirtualTime } from "../../support/virtual-time.js";

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
  readonly handleUpdate?: () => Promise<void>;
  readonly hearNews?: () => Promise<void>;
  readonly trusted?: () => boolean;
}

function makePoller(clock: Clock, surroundings: Surroundings): Poller {
  const { getUpdates, handleUpdate, hearNews = async () => {}, trusted = () => true } = surroundings;
  const nothing = () => {};
  return new Poller({
    bot: { api: { getUpdates }, handleUpdate } as unknown as TelegramBot,
    context: { clock, random: () => 0.5, logger: silentLogger, roundTrip: new RoundTrip(), hearNews },
    ledger: new UpdateLedger(clock),
    webhook: {} as WebhookGuard,
    parameters: { timeoutSeconds: 30, limit: 100, allowedUpdates: undefined },
    concurrency: 1,
    backoff: { delaysMs: [], jitter: 0, isEndless: false },
    followsAnother: false,
    trusted,
    events: {
      polled: nothing,
      answered: nothing,
      failed: nothing,
      handling: nothing,
      conflict: nothing,
      retry: nothing,
      handled: nothing,
      handlerError: nothing,
      silent: nothing,
    },
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

  const cut = watch(poller.cut(), time);
  await time.advance(1_000);

  expect(cut.resolvedAt).toBe(10 + endingMs);
});

it("a cut poll is given two round trips to arrive before the successor's", async () => {
  const { poller, time } = startPoller();
  await time.advance(10);
  void poller.cut();
  await time.advance(endingMs);

  const settled = watch(poller.settle(new AbortController().signal), time);
  await time.advance(1_000);

  // 250 ms each, as long as none was measured.
  expect(settled.resolvedAt).toBe(500);
});

it.each([
  { heard: "before a poll", news: 1, polls: 0 },
  { heard: "with the answer", news: 2, polls: 1 },
])("nothing is done any more when the end of the lease is heard $heard", async ({ news, polls }) => {
  let heard = 0;
  const getUpdates = vi.fn(async () => [{ update_id: 1 }]);
  const handleUpdate = vi.fn(async () => {});
  const hearNews = async () => {
    heard += 1;
  };

  await makePoller(new VirtualTime().clock(), {
    getUpdates,
    handleUpdate,
    hearNews,
    trusted: () => heard < news,
  }).run();

  expect(getUpdates).toHaveBeenCalledTimes(polls);
  expect(handleUpdate).not.toHaveBeenCalled();
});
