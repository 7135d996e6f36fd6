import type { Poller } from "../polling/poller.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { UpdateLedger } from "../polling/update-ledger.js";
import { wait } from "../waiting.js";
import type { BeforePolling } from "./before-polling.js";

export interface DrainOptions {
  readonly context: CallContext;
  readonly key: string;
  readonly ledger: UpdateLedger;
  readonly beforePolling: BeforePolling;
  readonly drainTimeoutMs: number;
}

/** Cuts the poll, then lets the user's code end. Beats go on meanwhile: nobody else gets the lease. */
export async function drain(poller: Poller | undefined, options: DrainOptions): Promise<void> {
  const { beforePolling, context, drainTimeoutMs, key, ledger } = options;
  await poller?.stop();
  const hasEnded = new AbortController();
  void Promise.all([ledger.idle(), beforePolling.ended()]).then(() => hasEnded.abort());
  await Promise.all([
    poller?.lastPollArrives(new AbortController().signal),
    wait(context.clock, drainTimeoutMs, hasEnded.signal),
  ]);
  const { repeated, lost } = ledger.runningIds();
  const tell = (updates: readonly number[], what: string) => {
    if (updates.length === 0) return;
    const message = `handlers still run after the drain time; their updates will ${what}`;
    context.logger.warn({ key, updates, drainTimeoutMs }, message);
  };
  tell(repeated, "be delivered again");
  tell(lost, "not be delivered again: Telegram was told that they are done");
  if (beforePolling.isRunning) {
    context.logger.warn(
      { key, drainTimeoutMs },
      "beforePolling still runs after the drain time, and may soon run elsewhere too. Let it end when its signal aborts",
    );
  }
}
