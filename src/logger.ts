import { wallNow } from "./clock.js";
import { hideKnown, visibleText } from "./redact.js";

/** What a logger needs: pino's shape, so that a pino instance fits as it is. Fields first, then the message. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

type Level = keyof Logger;

/** By how much they matter. */
export const levels = ["debug", "info", "warn", "error"] as const satisfies readonly Level[];

function everyLevel(write: (level: Level) => (fields: object, message: string) => void): Logger {
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

/** Says nothing. */
export const silentLogger: Logger = everyLevel(() => () => {});

/** A user's logger that cannot break what logs: what it throws or rejects with is dropped, for nobody is left to tell. */
export function harmless(logger: Logger): Logger {
  return everyLevel((level) => async (fields, message) => {
    try {
      await logger[level](fields, message);
    } catch {}
  });
}

/** Puts fields into each line, as they are when it is written; those of the line itself go first. */
export function withFields(logger: Logger, read: (level: Level) => object): Logger {
  return everyLevel((level) => (fields, message) => logger[level]({ ...read(level), ...fields }, message));
}

/** What the default logger writes. */
export interface LogSetting {
  /** The least that matters. */
  readonly level: Level;
  /** A JSON object a line, for machines. */
  readonly isJson: boolean;
}

/** One line an event on the console, whatever others have put into it: in words, or as JSON on standard output. */
export function consoleLogger(
  sink: Pick<Console, "log" | "warn" | "error"> = console,
  { level: least, isJson }: LogSetting = { level: "info", isJson: false },
): Logger {
  return everyLevel((level) => (fields, message) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return;
    if (isJson) sink.log(visibleText(jsonLine(level, fields, message)));
    else sink[level === "warn" || level === "error" ? level : "log"](plainLine(fields, message));
  });
}

/** `[safe-polling] @my_bot: what happened, and what to do (field=value). See https://…`, and where it happened below. */
function plainLine(fields: object, message: string): string {
  const { bot, key, see, stack, ...others } = shownFields(fields);
  const who = bot ?? (key === undefined ? undefined : `bot ${key}`);
  const told = Object.entries(others)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${plainValue(value)}`);
  const line = `[safe-polling] ${who === undefined ? "" : `${who}: `}${message}`;
  const details = told.length === 0 ? "" : ` (${told.join(", ")})`;
  // An error of this library names its own page.
  const page = see === undefined || details.includes(" See http") ? "" : `. See ${see}`;
  const whole = line + details + page;
  return [whole, ...callersOf(stack)].map((text) => visibleText(hideKnown(text))).join("\n");
}

/** Indented, so that nothing in them passes for a line of ours. Their head is the message of the error. */
function callersOf(stack: unknown): readonly string[] {
  return typeof stack === "string" ? (stack.match(/^ +at .+$/gm) ?? []) : [];
}

function plainValue(value: unknown): string {
  if (typeof value === "number") return String(Math.round(value));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function jsonLine(level: Level, fields: object, message: string): string {
  const line = { level, time: new Date(wallNow()).toISOString(), msg: message, ...shownFields(fields) };
  return JSON.stringify(line, (_, value) => (typeof value === "string" ? hideKnown(value) : value));
}

/** Without the fencing number: `token` in the log of a Telegram bot looks like a leak. */
function shownFields(fields: object): Record<string, unknown> {
  const { token: _, ...shown } = fields as Record<string, unknown>;
  return shown;
}
