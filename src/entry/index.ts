export type { HandleLabels, SafePollingMessages } from "../diagnostics.js";
export { isSafePollingError, SafePollingError, type SafePollingErrorCode } from "../errors.js";
export type { Lease, PollingState, SafePollingEvents, SafePollingListener } from "../events.js";
export type { LossReason } from "../lease/lease-keeper.js";
export type {
  Claim,
  ClaimRequest,
  ConnectContext,
  HandoverAnswer,
  HandoverRequest,
  Holder,
  LockBackend,
  LockConnection,
} from "../lock/backend.js";
export type { Logger } from "../logger.js";
export type {
  BackoffOptions,
  BeforePollingContext,
  ExhaustedPolicy,
  PollingOptions,
  SafePollingOptions,
} from "../options.js";
export type { ConfirmPolicy } from "../polling/poll-plan.js";
export type { PollableBot } from "../polling/telegram-bot.js";
export type { ConflictKind } from "../polling/telegram-failure.js";
export type { WebhookPolicy } from "../polling/webhook-guard.js";
export { safeStartPolling } from "../safe-start-polling.js";
export type { SafePolling } from "../session/handle.js";
export type { LeadingContext, LeadingTask } from "../session/leading-tasks.js";
export type { HealthFinding, HealthReport } from "../session/report.js";
