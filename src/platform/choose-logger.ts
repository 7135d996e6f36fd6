import {
  consoleLogger,
  harmless,
  type Logger,
  type LogSetting,
  levels,
  silentLogger,
  withFields,
} from "../logger.js";
import { invalidOption } from "../option-checks.js";
import { page } from "../pages.js";
import { shared } from "./process-registry.js";

/** The logger that was given, silence for `false`, the console for undefined. Throws ERR_INVALID_OPTION. */
export function chooseLogger(logger: Logger | false | undefined): Logger {
  if (logger === false) return silentLogger;
  const isLogger = logger === undefined || levels.every((level) => typeof logger?.[level] === "function");
  if (!isLogger)
    throw invalidOption("logger", "a pino-shaped logger with debug, info, warn and error, or false", logger);
  return withPage(logger ? harmless(logger) : shared("console-logger", defaultLogger));
}

/** What somebody should look at says where to read on. */
function withPage(logger: Logger): Logger {
  const see = page("troubleshooting.md#by-log-line");
  return withFields(logger, (level) => (level === "warn" || level === "error" ? { see } : {}));
}

function defaultLogger(): Logger {
  const setting = logSetting();
  const logger = consoleLogger(console, setting);
  if (setting.unknown !== undefined)
    logger.warn(
      { value: setting.unknown, see: page("options.md#logger") },
      "SAFE_POLLING_LOG has a word that is none of debug, info, warn and json; it is ignored",
    );
  return logger;
}

const leastLevels = ["debug", "info", "warn"] as const;

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
    level: leastLevels.find((level) => given.includes(level)) ?? "info",
    isJson: given.includes("json"),
    unknown: given.find((word) => !["json", ...leastLevels].includes(word)),
  };
}
