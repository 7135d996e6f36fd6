import { visibleText } from "./redact.js";

/** What a logger needs: pino's shape, so that a pino instance fits as it is. Fields first, then the message. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A user's logger that cannot break what logs: what it throws or rejects with is dropped, for nobody is left to tell. */
export function harmless(logger: Logger): Logger {
  const write = (level: keyof Logger) => async (fields: object, message: string) => {
    try {
      await logger[level](fields, message);
    } catch {}
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

/** One plain line per message on the console: level, message, fields as `key=value`. Debug lines are left out. */
export function consoleLogger(sink: Pick<Console, "log" | "warn" | "error"> = console): Logger {
  // One line an event, whatever others have put into it.
  const line = (fields: object, message: string) =>
    visibleText(`[safe-polling] ${message}${formatFields(fields)}`);
  return {
    debug() {},
    info: (fields, message) => sink.log(line(fields, message)),
    warn: (fields, message) => sink.warn(line(fields, message)),
    error: (fields, message) => sink.error(line(fields, message)),
  };
}

/** The fencing number is left out: `token=` in the log of a Telegram bot looks like a leak. */
function formatFields(fields: object): string {
  const parts = Object.entries(fields)
    .filter(([name, value]) => value !== undefined && name !== "token")
    .map(([name, value]) => `${name}=${formatValue(value)}`);
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

function formatValue(value: unknown): string {
  if (typeof value === "number") return String(Math.round(value));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
