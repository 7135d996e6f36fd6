import { page } from "../pages.js";
import type { Poller } from "../polling/poller.js";
import type { CallContext } from "../polling/telegram-call.js";
import type { UpdateLedger } from "../polling/update-ledger.js";
import { wait } from "../waiting.js";
import type { BeforePolling } from "./before-polling.js";
import type { LeadingTasks } from "./leading-tasks.js";

export interface DrainOptions {
  readonly context: CallContext;
  readonly ledger: UpdateLedger;
  readonly leading: LeadingTasks;
  readonly beforePolling: BeforePolling;
  readonly drainTimeoutMs: number;
}

/** Cuts the poll, then lets the user's code end. Beats go on meanwhile: nobody else gets the lease. */
export async function drain(poller: Poller | undefined, options: DrainOptions): Promise<void> {
  const { beforePolling, context, drainTimeoutMs, leading, ledger } = options;
  await poller?.stop();
  const hasEnded = new AbortController();
  const ends = [ledger.idle(), leading.ended(), beforePolling.ended()];
  void Promise.all(ends).then(() => hasEnded.abort());
  await Promise.all([
    poller?.lastPollArrives(new AbortController().signal),
    wait(context.clock, drainTimeoutMs, hasEnded.signal),
  ]);
  const { repeated, lost } = ledger.runningIds();
  const warn = (fields: object, message: string) =>
    context.logger.warn({ ...fields, drainTimeoutMs, see: page("options.md#draintimeoutms") }, message);
  const tell = (updates: readonly number[], what: string) => {
    if (updates.length === 0) return;
    warn(
      { updates },
      `handlers still run after the drain time; their updates will ${what}. Let them end sooner, or set a longer drainTimeoutMs`,
    );
  };
  tell(repeated, "be delivered again");
  tell(lost, "not be delivered again: Telegram was told that they are done");
  if (leading.running.length > 0) {
    warn(
      { tasks: leading.running },
      "leading tasks still run after the drain time, and may soon run elsewhere too. Let them end when their signal aborts",
    );
  }
  if (beforePolling.isRunning) {
    warn(
      {},
      "beforePolling still runs after the drain time, and may soon run elsewhere too. Let it end when its signal aborts",
    );
  }
}
