import { SafePollingError } from "../errors.js";

/** This bot is polled already: by this library, or by `bot.start()`. */
export function alreadyRunning(by: "us" | "bot.start()"): SafePollingError {
  const message =
    by === "us"
      ? "safeStartPolling() was called twice for the same bot. Call it once; use the handle that the first call returned."
      : "This bot is also polling by bot.start(). Remove that call: safeStartPolling() takes its place.";
  return new SafePollingError("ERR_ALREADY_RUNNING", message);
}
