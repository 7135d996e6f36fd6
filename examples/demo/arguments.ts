import { parseArgs } from "node:util";

/** How the bot polls: with a lock, with a `priority` too, with `lock: false`, or by plain grammY's `bot.start()`. */
export type Way = "lock" | "priority" | "no-lock" | "plain";

export const usage = `Usage: npm run demo [-- --no-lock | --priority | --unsafe]

  A rolling deploy and a crash, with real bot processes under traffic, and a Bot API emulator in place of Telegram.

  --no-lock   a deploy with lock: false, as on Render without a database
  --priority  a newer release takes over, crashes, and the old one is back
  --unsafe    the first one with plain grammY, bot.start(), for contrast
  --help      this text
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
        "no-lock": { type: "boolean" },
        priority: { type: "boolean" },
        unsafe: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) return { run: "help" };
    const ways = { "no-lock": values["no-lock"], priority: values.priority, plain: values.unsafe };
    const [way = "lock", ...more] = (["no-lock", "priority", "plain"] as const).filter((one) => ways[one]);
    if (more.length > 0) throw new Error("--no-lock, --priority and --unsafe exclude each other");
    return { run: "demo", way };
  } catch (error) {
    return { run: "error", message: error instanceof Error ? error.message : String(error) };
  }
}
