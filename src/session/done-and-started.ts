import { type Deferred, deferred } from "../waiting.js";

/**
 * The two promises of a handle: `done`, whose unobserved rejection crashes the process on purpose, and
 * `started()`, whose rejection is the same news: delivered there, it counts as observed.
 */
export class DoneAndStarted<T> {
  readonly #done = deferred<void>();
  #started: Deferred<T | undefined> | undefined;
  #outcome: { readonly started: T | undefined } | { readonly error: unknown } | undefined;

  get done(): Promise<void> {
    return this.#done.promise;
  }

  started(): Promise<T | undefined> {
    if (!this.#started) {
      this.#started = deferred();
      this.#settleStarted();
    }
    return this.#started.promise;
  }

  hasStarted(value: T): void {
    this.#outcome ??= { started: value };
    this.#settleStarted();
  }

  stopped(): void {
    this.#outcome ??= { started: undefined };
    this.#settleStarted();
    this.#done.resolve();
  }

  failed(error: unknown): void {
    this.#outcome ??= { error };
    this.#settleStarted();
    this.#done.reject(error);
  }

  #settleStarted(): void {
    if (!this.#started || !this.#outcome) return;
    if ("started" in this.#outcome) return this.#started.resolve(this.#outcome.started);
    // Delivered here means delivered: `done` may stay unobserved.
    this.#done.promise.catch(() => {});
    this.#started.reject(this.#outcome.error);
  }
}
