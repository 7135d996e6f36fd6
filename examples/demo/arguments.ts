import { parseArgs } from "node:util";

/** How the bot polls: with a lock, with `lock: false`, or by plain grammY's `bot.start()`. */
export type Way = "lock" | "no-lock" | "plain";

export const usage = `Usage: npm run demo [-- --no-lock | --unsafe]

  A rolling deploy and a crash, with real bot processes under traffic, and a Bot API emulator in place of Telegram.

  --no-lock  a deploy with lock: false, as on Render without a database
  --unsafe   the same with plain grammY, bot.start(), for contrast
  --help     this text
`;

/** What was asked for; `error`: not understood. */
export type DemoArguments =
  | { readonly run: "demo"; readonly way: Way }
  | { readonly run: "help" }
  | { readonly run: "error"; readonly message: string };

export function readArguments(args: readonly string[]): DemoArguments {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        unsafe: { type: "boolean" },
        "no-lock": { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) return { run: "help" };
    if (values.unsafe && values["no-lock"]) throw new Error("--unsafe and --no-lock exclude each other");
    return { run: "demo", way: values.unsafe ? "plain" : values["no-lock"] ? "no-lock" : "lock" };
  } catch (error) {
    return { run: "error", message: error instanceof Error ? error.message : String(error) };
  }
}
