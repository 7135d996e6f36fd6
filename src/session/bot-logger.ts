import { type Logger, withFields } from "../logger.js";
import type { TelegramBot } from "../polling/telegram-bot.js";

/** A logger whose lines all say which bot they are about: by its key, and by its name as soon as that is known. */
export function botLogger(logger: Logger, bot: TelegramBot, key: string): Logger {
  return withFields(logger, () => ({ bot: bot.isInited() ? `@${bot.botInfo.username}` : undefined, key }));
}
