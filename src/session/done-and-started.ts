import type { Lease } from "../events.js";
import { deferred } from "../waiting.js";

/**
 * The two promises of a handle: `done`, whose unobserved rejection crashes the process on purpose, and
 * `started()`, whose rejection is the same news: delivered there, it counts as observed.
 */
export function createDoneAndStarted() {
  const done = deferred<void>();
  const started = deferred<Lease | undefined>();
  // Nobody has to ask for it: `done` tells the same.
  started.promise.catch(() => {});
  return {
    done: done.promise,
    started: () =>
      started.promise.catch((error) => {
        done.promise.catch(() => {});
        throw error;
      }),
    hasStarted: started.resolve,
    stopped() {
      started.resolve(undefined);
      done.resolve();
    },
    failed(error: unknown) {
      started.reject(error);
      done.reject(error);
    },
  };
}
