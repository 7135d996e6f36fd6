import type { Lease } from "../events.js";
import type { SafePollingOptions } from "../options.js";
import type { CallContext } from "../polling/telegram-call.js";
import { redactIfSecret } from "../redact.js";
import { unlessAborted } from "../waiting.js";
import { retryPassingTrouble } from "./passing-trouble.js";
import type { UserCode } from "./user-code.js";

export type BeforePolling = ReturnType<typeof createBeforePolling>;

/**
 * The user's `beforePolling` over all leases of one handle. It never runs twice at once: not here, and, because the
 * lease is given back only when it has ended, not in two instances. What it has set up once holds until another
 * instance has held the lease. `handleEnded`: nobody waits any more for a hook that has outlived its handle.
 */
export function createBeforePolling(
  hook: SafePollingOptions["beforePolling"],
  context: CallContext,
  userCode: UserCode,
  handleEnded: AbortSignal,
) {
  let running: Promise<void> | undefined;
  let isSetUp = false;

  /** Another instance holds the lease, or has held it: what was set up may be different now. */
  function othersHeldTheLease(): void {
    isSetUp = false;
  }

  /** Resolves when what it sets up is set up; rejects with its error, or with AbortedError when `signal` aborts. */
  async function run(lease: Lease, signal: AbortSignal): Promise<void> {
    // A run under an earlier lease may not have ended yet.
    await unlessAborted(ended(), signal);
    if (!hook || isSetUp) return;
    const call = () => userCode.run(() => hook(lease, { signal }));
    running = setUp(call, signal).finally(() => {
      running = undefined;
    });
    await unlessAborted(running, signal);
  }

  /** Resolves when it does not run. */
  async function ended(): Promise<void> {
    await running?.catch(() => {});
  }

  async function setUp(call: () => unknown, signal: AbortSignal): Promise<void> {
    // Set before it has ended: if another instance holds the lease meanwhile, that takes it back.
    isSetUp = true;
    try {
      await retryPassingTrouble(context, "beforePolling", call, signal, handleEnded);
    } catch (error) {
      isSetUp = false;
      throw redactIfSecret(error);
    }
  }

  return { othersHeldTheLease, run, ended, isRunning: () => running !== undefined };
}
