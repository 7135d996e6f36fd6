import { AsyncLocalStorage } from "node:async_hooks";
import { redact } from "../redact.js";

interface Run {
  readonly owner: UserCode;
  isRunning: boolean;
}

// One for all handles: each costs something with every promise of the process.
const currentRun = new AsyncLocalStorage<Run>();

/** Code of the user that a stop waits for: a handler, a leading task, `beforePolling`. When it calls for the stop, it would wait for itself. */
export class UserCode {
  async run<T>(code: () => T | PromiseLike<T>): Promise<T> {
    const run: Run = { owner: this, isRunning: true };
    try {
      return await currentRun.run(run, code);
    } finally {
      run.isRunning = false;
    }
  }

  /** Whether whoever asks is called from such code, which has not ended yet. */
  get isCaller(): boolean {
    const run = currentRun.getStore();
    return run?.owner === this && run.isRunning;
  }
}

/** Whether what such code threw only says that it was told to end. grammY wraps the error of an aborted call. */
export function isAbort(error: unknown): boolean {
  // What was thrown may throw when it is read.
  const { name, error: inner } = (redact(error) ?? {}) as { name?: unknown; error?: { name?: unknown } };
  return name === "AbortError" || inner?.name === "AbortError";
}
