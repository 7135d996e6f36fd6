import type { Lease } from "../events.js";
import { silenceMs } from "../polling/fetching.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { WebhookGuard } from "../polling/webhook-guard.js";
import { AbortedError, unlessAborted, wait } from "../waiting.js";
import type { BeforePolling } from "./before-polling.js";
import type { HandleLog } from "./handle-log.js";

export interface FirstPollOptions {
  readonly context: CallContext;
  readonly log: HandleLog;
  startDelayMs(): number;
  readonly webhook: WebhookGuard;
  readonly beforePolling: BeforePolling;
  readonly lease: Lease;
  /** Aborts when the lease ends. */
  readonly signal: AbortSignal;
  /** What needs no lease, and began before it came. */
  readonly prepared: Promise<void>;
  onPrepared(): void;
  /** A minute was waited for this: a standby may have more luck. */
  offerLease(why: string): void;
}

/** What comes between the grant of a lease and its first poll. Rejects with AbortedError when the lease ends meanwhile. */
export async function beforeFirstPoll(given: FirstPollOptions): Promise<void> {
  const { beforePolling, context, lease, log, offerLease, onPrepared, prepared, signal } = given;
  const { webhook } = given;
  const orOffer = async (work: Promise<void>, why: string) => {
    const offer = context.clock.setTimer(() => offerLease(why), silenceMs);
    await work.finally(() => offer.clear());
  };
  await orOffer(unlessAborted(prepared, signal), "Telegram has not answered");
  onPrepared();
  const startDelayMs = given.startDelayMs();
  if (startDelayMs > 0) {
    log.delayed(startDelayMs);
    if (!(await wait(context.clock, startDelayMs, signal))) throw new AbortedError();
  }
  await orOffer(webhook.clear(signal), "Telegram has not answered");
  await orOffer(beforePolling.run(lease, signal), "beforePolling has not ended");
}
