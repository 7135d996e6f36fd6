import type { LogSetting } from "../logger.js";

const levels = ["debug", "info", "warn"] as const;

/** What SAFE_POLLING_LOG asks of the default logger, words with commas between; `unknown`: the first that is none. */
export function logSetting(
  asked = process.env.SAFE_POLLING_LOG ?? "",
): LogSetting & { readonly unknown: string | undefined } {
  const given = asked
    .toLowerCase()
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
  return {
    level: levels.find((level) => given.includes(level)) ?? "info",
    isJson: given.includes("json"),
    unknown: given.find((word) => !["json", ...levels].includes(word)),
  };
}
