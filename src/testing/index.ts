export type { Clock, Moment, Timer } from "../clock.js";
export { type Arguments, toArguments } from "./bot-api/arguments.js";
export { BotApi, type BotApiCall, type BotState } from "./bot-api/bot-api.js";
export { type BotApiEmulator, type BotApiEmulatorOptions, startBotApi } from "./bot-api/bot-api-emulator.js";
export type { BotApiOptions } from "./bot-api/bot-api-options.js";
export type { BotAccount, BotReference, NewBot } from "./bot-api/bot-registry.js";
export type { Fault, FaultKind, InjectedFault } from "./bot-api/faults.js";
export type { EventListener, WaitOptions } from "./bot-api/journal.js";
export type {
  AnsweredEvent,
  BotApiEvent,
  BotApiEventBody,
  ConflictEvent,
  DisconnectedEvent,
  EventOf,
  EventStamp,
  FaultEvent,
  LeaseEndedEvent,
  ParkedEvent,
  PollEvent,
  PushedEvent,
  RejectedEvent,
  RemovedEvent,
  RequestEvent,
  SentEvent,
  ZombieReason,
} from "./bot-api/journal-events.js";
export {
  answersTo,
  deliveriesOf,
  type PollOverlap,
  type PollSpan,
  pollerTimeline,
  pollOverlaps,
  type Span,
  slotTimeline,
} from "./bot-api/journal-queries.js";
export type { MessageOptions } from "./bot-api/messages.js";
export type { ConflictKind, Reply } from "./bot-api/reply.js";
export type { Answer, PendingCall } from "./bot-api/request.js";
export type { BotApiCounters, ConflictCount } from "./bot-api/statistics.js";
export type { RemovalReason } from "./bot-api/update-queue.js";
export {
  type LockCapabilities,
  type LockConformanceOptions,
  type LockFixture,
  type LockHooks,
  lockConformance,
} from "./lock-conformance.js";
