import { setTimeout as sleep } from "node:timers/promises";
import { visibleText } from "../redact.js";
import type { Answer, BotApiClient } from "./bot-api.js";
import { about, command, count, duration, type Finding, holderName } from "./finding.js";
import type { LockState } from "./holder-check.js";

const ofToken = about("token");
const ofWebhook = about("webhook");

export interface TelegramLook {
  readonly findings: readonly Finding[];
  readonly username?: string;
  /** Undefined: not known. */
  readonly webhook?: { readonly isSet: boolean };
  readonly pendingUpdates?: number;
}

interface WebhookInfo {
  readonly url: string;
  readonly pending_update_count: number;
  readonly last_error_date?: number;
  readonly last_error_message?: string;
}

/** Whether the server answers, knows the token, and has a webhook. All of it only reads. */
export async function lookAtTelegram(api: BotApiClient): Promise<TelegramLook> {
  const me = await api.call<{ readonly username: string }>("getMe");
  if (me.kind !== "result") return { findings: [serverFinding(api, me), tokenFinding(me)] };
  const { username } = me.result;
  const accepted = ofToken.ok("accepted", `Telegram knows the token: @${username}.`);
  const info = await api.call<WebhookInfo>("getWebhookInfo");
  const webhook =
    info.kind === "result"
      ? webhookFinding(info.result, Date.now())
      : ofWebhook.unknown("no-answer", `getWebhookInfo failed: ${describeAnswer(info)}.`);
  const findings = [serverFinding(api, me), accepted, webhook];
  if (info.kind !== "result") return { findings, username };
  const { url, pending_update_count: pendingUpdates } = info.result;
  return { findings, username, webhook: { isSet: url !== "" }, pendingUpdates };
}

/** The token's finding where it cannot be the token of any bot; undefined where it may be. */
export function malformedToken(token: string): Finding | undefined {
  if (/^\d+:[\w-]+$/.test(token)) return undefined;
  return ofToken.problem(
    "malformed",
    "BOT_TOKEN is not a bot token: digits, a colon, and letters, digits, - or _, without spaces.",
    "Copy the token from @BotFather again.",
  );
}

function serverFinding(api: BotApiClient, answer: Answer<unknown>): Finding {
  const ofTelegram = about("telegram");
  const isHosted = api.address === "https://api.telegram.org";
  if (answer.kind === "unreachable") {
    const fix = isHosted
      ? "Check network, DNS and proxy of this machine."
      : "Check --api-root, and that the Bot API server runs.";
    return ofTelegram.problem("unreachable", `${api.address} cannot be reached: ${answer.reason}.`, fix);
  }
  if (answer.kind === "foreign" && answer.status < 500) {
    const fix = isHosted
      ? "A proxy or a sign-in page is in between: let this machine reach api.telegram.org directly."
      : "Check --api-root: it is the address of the server without /bot, such as http://localhost:8081.";
    const message = `${api.address} answers, but not as a Bot API server (HTTP ${answer.status}, ${answer.contentType}).`;
    return ofTelegram.problem("not-bot-api", message, fix);
  }
  if (answer.kind !== "result" && isTrouble(answer)) {
    const message = `${api.address} cannot answer now: ${describeAnswer(answer)}.`;
    return ofTelegram.unknown("trouble", message, "Try again in a minute.");
  }
  return ofTelegram.ok("reachable", `${api.address} answers.`);
}

function tokenFinding(answer: Failure): Finding {
  if (answer.kind !== "refused" || isTrouble(answer)) {
    return ofToken.skipped("not-asked", "The token could not be tried.");
  }
  const what = `${answer.status} ${answer.description}`;
  if (answer.status === 401 || answer.status === 404) {
    const fix =
      "Check BOT_TOKEN against @BotFather: the token may be mistyped or revoked. A bot of the test environment needs --test-environment, one of the usual environment must not have it.";
    return ofToken.problem("rejected", `Telegram does not accept the token (${what}).`, fix);
  }
  const fix = "If the bot has moved to a Bot API server of its own, name that with --api-root.";
  return ofToken.problem("refused", `Telegram refuses getMe (${what}).`, fix);
}

function webhookFinding(info: WebhookInfo, now: number): Finding {
  if (info.url === "") return ofWebhook.ok("none", "No webhook is set.");
  // Only the host: many put a secret into the path.
  const host = URL.canParse(info.url) ? new URL(info.url).host : "an address that is none";
  const isSet = `A webhook is set (${host}), so Telegram refuses every getUpdates (409).`;
  const fix = `Remove it, updates are kept: ${command} --fix. A bot with the option \`webhook: "delete"\` (the default) does it at its start.`;
  if (info.last_error_date === undefined) return ofWebhook.problem("set", isSet, fix);
  const age = duration(Math.max(0, now - info.last_error_date * 1_000));
  const error = visibleText(String(info.last_error_message).replaceAll(info.url, host));
  return ofWebhook.problem("failing", `${isSet} Deliveries to it fail, the last ${age} ago: ${error}.`, fix);
}

type Failure = Exclude<Answer<unknown>, { kind: "result" }>;

/** 429 and 5xx pass by themselves. */
function isTrouble(answer: Failure): boolean {
  return answer.kind !== "unreachable" && (answer.status === 429 || answer.status >= 500);
}

export function describeAnswer(answer: Failure): string {
  if (answer.kind === "unreachable") return answer.reason;
  if (answer.kind === "refused") return `${answer.status} ${visibleText(answer.description)}`;
  return `HTTP ${answer.status}, ${visibleText(answer.contentType)}`;
}

const lookEveryMs = 1_000;

/** How many updates wait at the end, and whether somebody has confirmed some meanwhile. */
interface PendingWatch {
  readonly last: number;
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
  const ofUpdates = about("updates");
  const { last, hasFallen, watchedMs } = watch;
  if (hasFallen && lock?.kind === "free") {
    return ofUpdates.problem(
      "consumed-outside-lock",
      "Somebody consumes updates, and nobody holds the lock: a poller that does not use this lock.",
      "Find the other copy of the bot and stop it, or revoke the token with @BotFather. If it is the bot, name its lock.",
    );
  }
  if (hasFallen) return ofUpdates.ok("consumed", "Updates were waiting, and are being consumed.");
  if (last === 0) return ofUpdates.ok("none", "No update is waiting.");
  const waiting = `${count(last, "update")} waiting, and nobody consumed one within ${duration(watchedMs)}`;
  if (lock?.kind === "held") {
    const message = `${waiting}, though ${holderName(lock.holder)} holds the lock. Its handlers take long, or it is stuck.`;
    const fix = "Look at its log and its health, and watch for longer with --watch 60.";
    return ofUpdates.unknown("unconsumed-by-holder", message, fix);
  }
  if (lock === undefined || lock.kind === "unknown") {
    const message = `${waiting}. Whether somebody is still at work could not be told without the lock.`;
    return ofUpdates.unknown("undecided", message, "Watch for longer with --watch 60.");
  }
  const why = lock.kind === "free" ? "no instance holds the lock" : "its holder is not heard";
  const fix = "Start the bot, or find out why it does not poll.";
  return ofUpdates.problem("unconsumed", `${waiting}: ${why}.`, fix);
}
