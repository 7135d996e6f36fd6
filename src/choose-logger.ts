import { consoleLogger, harmless, type Logger, levels, silentLogger, withFields } from "./logger.js";
import { invalidOption } from "./option-checks.js";
import { page } from "./pages.js";
import { logSetting } from "./platform/log-setting.js";
import { shared } from "./platform/process-registry.js";

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
