import type { HealthFinding } from "../health/report.js";
import type { Logger } from "../logger.js";
import type { TelegramBot } from "../polling/telegram-bot.js";

/** What other entries of this library may ask of a handle. Not on the handle itself: users have no use for it. */
export interface HandleInternals {
  readonly bot: TelegramBot;
  readonly logger: Logger;
  /** Whether the lock is one that the other instances can see. */
  readonly isLockShared: boolean;
  /** Whether the lock still proves that this instance may poll. Without a lock: whether it tries to. */
  trusted(): boolean;
  /** Shows findings in `health()` until the returned function is called. */
  showFindings(read: () => readonly HealthFinding[]): () => void;
}
