import type { ConnectContext } from "../lock/backend.js";
import type { LockCommandArguments } from "./arguments.js";
import { chooseLock, type LockChoice } from "./lock-choice.js";
import { type OpenLock, openLock } from "./lock-connection.js";
import { type Environment, tokenAdvice, withEnvFile } from "./run-command.js";

/** The lock of a bot that has one, for the commands that look at nothing else. Rejects with what to do. */
export async function openHeldLock(
  options: LockCommandArguments,
  environment: Environment,
  onAsked?: ConnectContext["onAsked"],
): Promise<{ readonly lock: OpenLock; readonly choice: LockChoice; readonly key: string }> {
  const env = withEnvFile(environment, options.envFile);
  const key = options.key ?? env.BOT_TOKEN?.split(":")[0] ?? "";
  if (key === "")
    throw new Error(`Neither --key nor BOT_TOKEN says which bot. ${tokenAdvice(options.envFile)}`);
  const choice = chooseLock(options.lock, env);
  if (!choice) throw new Error("A bot without a lock has no holder: leave --no-lock out.");
  const { lock, findings } = await openLock(choice, key, onAsked);
  if (!lock) throw new Error(findings[0]?.message ?? "the lock cannot be used");
  return { lock, choice, key };
}
