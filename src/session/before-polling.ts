import type { Lease } from "../events.js";
import type { SafePollingOptions } from "../options.js";
import type { CallContext } from "../polling/telegram-call.js";
import { redactIfSecret } from "../redact.js";
import { unlessAborted } from "../waiting.js";
import { retryPassingTrouble } from "./passing-trouble.js";
import type { UserCode } from "./user-code.js";

/**
 * The user's `beforePolling` over all leases of one handle. It never runs twice at once: not here, and, because the
 * lease is given back only when it has ended, not in two instances. What it has set up once holds until another
 * instance has held the lease.
 */
export class BeforePolling {
  readonly #hook: SafePollingOptions["beforePolling"];
  readonly #context: CallContext;
  readonly #userCode: UserCode;
  readonly #ended: AbortSignal;
  #running: Promise<void> | undefined;
  /** Counts the times that others held the lease. */
  #era = 0;
  #doneInEra = -1;

  /** `ended`: the handle has ended, and nobody waits any more for a hook that has outlived it. */
  constructor(
    hook: SafePollingOptions["beforePolling"],
    context: CallContext,
    userCode: UserCode,
    ended: AbortSignal,
  ) {
    this.#hook = hook;
    this.#context = context;
    this.#userCode = userCode;
    this.#ended = ended;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Another instance holds the lease, or has held it: what was set up may be different now. */
  othersHeldTheLease(): void {
    this.#era += 1;
  }

  /** Resolves when what it sets up is set up; rejects with its error, or with AbortedError when `signal` aborts. */
  async run(lease: Lease, signal: AbortSignal): Promise<void> {
    // One that has outlived its lease.
    await unlessAborted(this.ended(), signal);
    if (!this.#hook || this.#doneInEra === this.#era) return;
    const run = this.#run(this.#hook, lease, signal);
    this.#running = run.finally(() => {
      this.#running = undefined;
    });
    await unlessAborted(this.#running, signal);
  }

  /** Resolves when it does not run. */
  async ended(): Promise<void> {
    await this.#running?.catch(() => {});
  }

  async #run(
    hook: NonNullable<SafePollingOptions["beforePolling"]>,
    lease: Lease,
    signal: AbortSignal,
  ): Promise<void> {
    const era = this.#era;
    const call = () => this.#userCode.run(() => hook(lease, { signal }));
    try {
      await retryPassingTrouble(this.#context, "beforePolling", call, signal, this.#ended);
    } catch (error) {
      throw redactIfSecret(error);
    }
    this.#doneInEra = era;
  }
}
