import { setTimeout as sleep } from "node:timers/promises";
import type { BotApiClient } from "./bot-api.js";
import { count, duration, type Finding, holderName } from "./finding.js";
import type { LockState } from "./holder-check.js";
import type { WebhookInfo } from "./telegram-checks.js";

const lookEveryMs = 1_000;

/** Updates that wait, over a time. */
interface PendingWatch {
  readonly last: number;
  /** Somebody has confirmed some meanwhile. */
  readonly hasFallen: boolean;
  readonly watchedMs: number;
}

/**
 * Watches how many updates wait until the number falls, at most for `watchMs`. It counts what is delivered and not
 * yet confirmed too, so it falls only with the next poll of whoever handles them; that it does not fall for a
 * few seconds proves nothing about a holder that is busy. (telegram-bot-api Client.cpp, JsonWebhookInfo.)
 */
export async function watchPendingUpdates(
  api: BotApiClient,
  first: number,
  watchMs: number,
): Promise<PendingWatch> {
  const start = performance.now();
  const watchedMs = () => performance.now() - start;
  let last = first;
  while (last > 0 && watchedMs() < watchMs) {
    await sleep(Math.min(lookEveryMs, watchMs - watchedMs()));
    const info = await api.call<WebhookInfo>("getWebhookInfo");
    const now = info.kind === "result" ? info.result.pending_update_count : last;
    if (now < last) return { last: now, hasFallen: true, watchedMs: watchedMs() };
    last = now;
  }
  return { last, hasFallen: false, watchedMs: watchedMs() };
}

/** What the watch means, given who holds the lock; `lock` is undefined where there is none, or none that answers. */
export function updatesFinding(watch: PendingWatch, lock: LockState | undefined): Finding {
  const check = "updates";
  const { last, hasFallen, watchedMs } = watch;
  if (hasFallen && lock?.kind === "free") {
    return {
      check,
      status: "problem",
      code: "consumed-outside-lock",
      message: "Somebody consumes updates, and nobody holds the lock: a poller that does not use this lock.",
      fix: "Find the other copy of the bot and stop it, or revoke the token with @BotFather. If it is the bot, name its lock.",
    };
  }
  if (hasFallen) {
    return {
      check,
      status: "ok",
      code: "consumed",
      message: "Updates were waiting, and are being consumed.",
    };
  }
  if (last === 0) return { check, status: "ok", code: "none", message: "No update is waiting." };
  const waiting = `${count(last, "update")} waiting, and nobody consumed one within ${duration(watchedMs)}`;
  if (lock?.kind === "held") {
    const message = `${waiting}, though ${holderName(lock.holder)} holds the lock. Its handlers take long, or it is stuck.`;
    const fix = "Look at its log and its health, and watch for longer with --watch 60.";
    return { check, status: "unknown", code: "unconsumed-by-holder", message, fix };
  }
  if (lock === undefined || lock.kind === "unknown") {
    const message = `${waiting}. Whether somebody is still at work could not be told without the lock.`;
    return { check, status: "unknown", code: "undecided", message, fix: "Watch for longer with --watch 60." };
  }
  const why = lock.kind === "free" ? "no instance holds the lock" : "its holder is not heard";
  const fix = "Start the bot, or find out why it does not poll.";
  return { check, status: "problem", code: "unconsumed", message: `${waiting}: ${why}.`, fix };
}
