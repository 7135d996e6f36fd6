import { parseArgs } from "node:util";

export const usage = `Usage: npm run demo [-- --unsafe]

  A rolling deploy and a crash, with real bot processes under traffic, and a Bot API emulator in place of Telegram.

  --unsafe   the same with plain grammY, bot.start(), for contrast
  --help     this text
`;

/** What was asked for; `error`: not understood. */
export type DemoArguments =
  | { readonly run: "demo"; readonly isUnsafe: boolean }
  | { readonly run: "help" }
  | { readonly run: "error"; readonly message: string };

export function readArguments(args: readonly string[]): DemoArguments {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { unsafe: { type: "boolean" }, help: { type: "boolean", short: "h" } },
    });
    return values.help ? { run: "help" } : { run: "demo", isUnsafe: values.unsafe === true };
  } catch (error) {
    return { run: "error", message: error instanceof Error ? error.message : String(error) };
  }
}
