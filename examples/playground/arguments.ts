import { parseArgs } from "node:util";

export const usage = `Usage: npm run playground [-- options]

  Deploys, crashes and lost lock servers to watch in a browser, with real bot processes, a real lock, and a Bot API
  emulator in place of Telegram.

  --no-open       don't open a browser (nor is one opened without a terminal, or in CI)
  --port <n>      port of the page on 127.0.0.1; default: 4090, or any free one when that is taken
  --host <name>   address to listen on; default: 127.0.0.1. Whoever reaches it may press the buttons
  --lease <ms>    how long a lock server keeps a lease that is not renewed; default: 10000
  --speed <n>     plays stories and platform waits so many times faster; default: 1
  --help          this text
`;

export interface PlaygroundSettings {
  readonly isOpening: boolean;
  /** Undefined: the default one, or any. */
  readonly port: number | undefined;
  readonly host: string;
  readonly leaseMs: number;
  readonly speed: number;
}

/** What was asked for; `error`: not understood. */
export type PlaygroundArguments =
  | { readonly run: "playground"; readonly settings: PlaygroundSettings }
  | { readonly run: "help" }
  | { readonly run: "error"; readonly message: string };

export function readArguments(args: readonly string[]): PlaygroundArguments {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        "no-open": { type: "boolean" },
        port: { type: "string" },
        host: { type: "string", default: "127.0.0.1" },
        lease: { type: "string", default: "10000" },
        speed: { type: "string", default: "1" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) return { run: "help" };
    const settings = {
      isOpening: values["no-open"] !== true,
      port: values.port === undefined ? undefined : numberIn("--port", values.port, 0, 65_535),
      host: values.host,
      leaseMs: numberIn("--lease", values.lease, 2_000, 120_000),
      speed: numberIn("--speed", values.speed, 0.1, 100),
    };
    return { run: "playground", settings };
  } catch (error) {
    return { run: "error", message: error instanceof Error ? error.message : String(error) };
  }
}

function numberIn(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= least && value <= most) return value;
  throw new RangeError(`Expected ${name} to be a number from ${least} to ${most}, got ${text}`);
}
