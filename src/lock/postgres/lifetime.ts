import type { ConnectContext, LockConnection } from "../backend.js";
import { asConfigError } from "./connect-errors.js";

/**
 * Opens a connection under one signal for everything that belongs to it: it aborts when the context's signal
 * does while connecting, when connecting fails, and later when the connection is closed or breaks.
 */
export async function connectWith(
  context: ConnectContext,
  open: (life: AbortController) => Promise<LockConnection>,
): Promise<LockConnection> {
  context.signal.throwIfAborted();
  const life = new AbortController();
  const giveUp = () => life.abort(context.signal.reason);
  context.signal.addEventListener("abort", giveUp);
  try {
    return await open(life);
  } catch (error) {
    life.abort();
    throw asConfigError(error);
  } finally {
    context.signal.removeEventListener("abort", giveUp);
  }
}
