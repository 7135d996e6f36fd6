import { deferred } from "../waiting.js";

/**
 * The two promises of a handle: `done`, whose unobserved rejection crashes the process on purpose, and
 * `started()`, whose rejection is the same news: delivered there, it counts as observed.
 */
export class DoneAndStarted<T> {
  readonly #done = deferred<void>();
  readonly #started = deferred<T | undefined>();

  constructor() {
    // Nobody has to ask for it: `done` tells the same.
    this.#started.promise.catch(() => {});
  }

  get done(): Promise<void> {
    return this.#done.promise;
  }

  started(): Promise<T | undefined> {
    return this.#started.promise.catch((error) => {
      this.#done.promise.catch(() => {});
      throw error;
    });
  }

  hasStarted(value: T): void {
    this.#started.resolve(value);
  }

  stopped(): void {
    this.#started.resolve(undefined);
    this.#done.resolve();
  }

  failed(error: unknown): void {
    this.#started.reject(error);
    this.#done.reject(error);
  }
}
