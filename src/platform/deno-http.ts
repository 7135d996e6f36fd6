import type { Logger } from "../logger.js";
import { page } from "../pages.js";

interface BotOptions {
  readonly api: { readonly options?: { readonly baseFetchConfig?: object; readonly fetch?: unknown } };
}

/**
 * Warns of a bot whose cut polls go on without us: Deno 2.9 sends a request again that is aborted on a connection
 * which was used before (denoland/deno issue 36786), and grammY's build for Node.js keeps connections. Never rejects.
 */
export async function warnOfDenoHttp(
  bot: object,
  logger: Logger,
  runtime: object = globalThis,
): Promise<void> {
  if (!("Deno" in runtime)) return;
  const { options } = (bot as BotOptions).api;
  if (options?.baseFetchConfig || options?.fetch) return;
  const grammy = await import("grammy").catch(() => undefined);
  if (!grammy || !(bot instanceof grammy.Bot)) return;
  logger.warn(
    { see: page("runtimes.md") },
    'Deno may send a poll again that was cut, so that a stop takes up to a poll\'s time and the successor meets a 409. Import Bot from "grammy/web", which uses fetch',
  );
}
