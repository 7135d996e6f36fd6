import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { PostgresLockOptions } from "../../src/lock/postgres/options.js";

/** A real process that holds keys until it is killed, or waits for them; `byHand`: a plain advisory lock too. */
export async function startHolder(
  options: PostgresLockOptions & { readonly byHand?: number },
  keys: readonly string[],
  becomes: "holder" | "standby" = "holder",
): Promise<ChildProcess> {
  const script = fileURLToPath(new URL("./lock-holder.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), script, JSON.stringify({ ...options, keys })],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const kill = () => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.removeListener("exit", kill));
  const [line] = await once(createInterface(child.stdout), "line");
  const { granted } = JSON.parse(line);
  if (granted !== (becomes === "holder" ? keys.length : 0))
    throw new Error(`the ${becomes} got ${granted} of ${keys.length} keys`);
  return child;
}
