export type { Clock, Moment, Timer } from "../clock.js";
export { type Arguments, toArguments } from "../testing/bot-api/arguments.js";
export type { BotAccount } from "../testing/bot-api/bot.js";
export type { BotApiOptions } from "../testing/bot-api/bot-api.js";
export { BotApi, type BotApiCall, type BotState } from "../testing/bot-api/bot-api.js";
export {
  type BotApiEmulator,
  type BotApiEmulatorOptions,
  startBotApi,
} from "../testing/bot-api/bot-api-emulator.js";
export type { BotReference, NewBot } from "../testing/bot-api/bot-registry.js";
export type { Fault, InjectedFault } from "../testing/bot-api/faults.js";
export type {
  AnsweredEvent,
  BotApiEvent,
  BotApiEventBody,
  ConflictEvent,
  DisconnectedEvent,
  EditedEvent,
  EventListener,
  EventOf,
  EventStamp,
  FaultEvent,
  FaultKind,
  LeaseEndedEvent,
  ParkedEvent,
  PollEvent,
  PushedEvent,
  RejectedEvent,
  RemovedEvent,
  RequestEvent,
  SentEvent,
  WaitOptions,
  ZombieReason,
} from "../testing/bot-api/journal.js";
export {
  answersTo,
  deliveriesOf,
  type PollOverlap,
  type PollSpan,
  pollerTimeline,
  pollOverlaps,
  type Span,
  slotTimeline,
} from "../testing/bot-api/journal-queries.js";
export type { Reply, ServerConflict as ConflictKind } from "../testing/bot-api/reply.js";
export type { Answer, PendingCall } from "../testing/bot-api/request.js";
export type { BotApiCounters, ConflictCount } from "../testing/bot-api/statistics.js";
export type { RemovalReason } from "../testing/bot-api/update-queue.js";
export type { MessageOptions } from "../testing/bot-api/update-types.js";
export type {
  LockCapabilities,
  LockConformanceOptions,
  LockFixture,
  LockHooks,
} from "../testing/lock-conformance/check-run.js";
export { lockConformance } from "../testing/lock-conformance.js";
