// What the server of the playground and its page tell each other. Times are the server's monotonic milliseconds.

import type { InstanceState, StateChange } from "../../test/tools/instance-states.js";

export type { InstanceState, StateChange };

export type LaneName = "plain" | "safe";

/** `none`: `lock: false`. */
export type LockKind = "none" | "file" | "postgres" | "redis";

/** One row of a lane. */
export interface InstanceView {
  readonly name: string;
  /** Why it is in this state, in a few words. */
  readonly note: string;
  /** Oldest first; the last one holds now. */
  readonly changes: readonly StateChange[];
}

/** A message of a user, by its number in the stream that both lanes get. */
export interface MessageView {
  readonly number: number;
  readonly pushedAt: number;
  readonly answers: readonly { readonly at: number; readonly instance: string }[];
  /** When it had left Telegram's queue and nobody was there any more to answer it. */
  readonly lostAt?: number;
}

/** The emulator's own counters, but for `lost`, `crashes` and `lastSwitch`, which are the processes'. */
export interface Counters {
  readonly pushed: number;
  readonly answered: number;
  /** Neither answered nor lost. */
  readonly waiting: number;
  /** Answers to a message that had one. */
  readonly twice: number;
  readonly lost: number;
  /** 409s that an instance was there to read. */
  readonly conflicts: number;
  readonly crashes: number;
  /** From the end of one poller to the first poll of the next one. */
  readonly lastSwitch?: { readonly kind: "handover" | "takeover"; readonly ms: number };
}

export interface LaneView {
  readonly counters: Counters;
  readonly instances: readonly InstanceView[];
  readonly messages: readonly MessageView[];
  readonly isWebhookSet: boolean;
}

export interface Link {
  /** Path on this server, such as `/docs/redis.md#what-happens`. */
  readonly href: string;
  readonly text: string;
}

/** One line about something that happened, and why. */
export interface Line {
  readonly id: number;
  readonly at: number;
  readonly lane: LaneName | undefined;
  readonly tone: "plain" | "good" | "bad";
  readonly text: string;
  readonly link: Link | undefined;
}

export interface LockView {
  readonly kind: LockKind;
  readonly status: "starting" | "ready" | "unavailable";
  /** Where it is, or why it cannot be had. */
  readonly note: string;
}

/** What the lock server of this run suffers. */
export type LockFault = "none" | "cut" | "killed";

export interface Settings {
  readonly lock: LockKind;
  readonly lockFault: LockFault;
  readonly messagesPerSecond: number;
  readonly handlerMs: number;
  readonly leaseMs: number;
}

export interface StoryView {
  readonly id: string;
  readonly title: string;
  /** Counted from 1. */
  readonly step: number;
  readonly steps: number;
  readonly sentence: string;
  readonly link: Link | undefined;
  readonly state: "playing" | "finished" | "stopped";
}

/** What a button of a story says; `missing`: why it cannot be played here. */
export interface StoryOffer {
  readonly id: string;
  readonly title: string;
  readonly teaser: string;
  readonly missing: string | undefined;
}

interface PlatformView {
  readonly id: string;
  readonly label: string;
}

/** Everything, for a page that has just connected, and whenever a new run begins. */
export interface Snapshot {
  readonly now: number;
  /** Grows with every new run. */
  readonly run: number;
  readonly startedAt: number;
  readonly settings: Settings;
  readonly locks: readonly LockView[];
  readonly platforms: readonly PlatformView[];
  readonly stories: readonly StoryOffer[];
  readonly story: StoryView | undefined;
  readonly lanes: Readonly<Record<LaneName, LaneView>>;
  readonly lines: readonly Line[];
}

/** What has changed since the last batch; names say whose. */
export type Change =
  | {
      readonly type: "state";
      readonly lane: LaneName;
      readonly name: string;
      readonly note: string;
      readonly change: StateChange;
    }
  | { readonly type: "pushed"; readonly lane: LaneName; readonly number: number; readonly at: number }
  | {
      readonly type: "answered";
      readonly lane: LaneName;
      readonly number: number;
      readonly at: number;
      readonly instance: string;
    }
  | { readonly type: "lost"; readonly lane: LaneName; readonly number: number; readonly at: number }
  | { readonly type: "counters"; readonly lane: LaneName; readonly counters: Counters }
  | { readonly type: "webhook"; readonly lane: LaneName; readonly isSet: boolean }
  | { readonly type: "line"; readonly line: Line }
  | { readonly type: "settings"; readonly settings: Settings }
  | { readonly type: "locks"; readonly locks: readonly LockView[]; readonly stories: readonly StoryOffer[] }
  | { readonly type: "story"; readonly story: StoryView };

export interface Batch {
  readonly now: number;
  readonly changes: readonly Change[];
}

/** What a button asks for, as JSON in a POST to `/command`. `lane` left out: both. */
export type Command =
  | { readonly type: "deploy"; readonly lane?: LaneName; readonly platform: string }
  | { readonly type: "add" | "stop" | "kill" | "freeze" | "thaw"; readonly lane?: LaneName }
  | { readonly type: "rogue" | "end-rogue"; readonly lane?: LaneName }
  | { readonly type: "set-webhook" | "delete-webhook"; readonly lane?: LaneName }
  | { readonly type: "cut-lock" | "heal-lock" | "kill-lock" | "restart-lock" }
  | { readonly type: "rate"; readonly messagesPerSecond: number }
  | { readonly type: "handler"; readonly handlerMs: number }
  /** A new run, from zero. */
  | { readonly type: "reset"; readonly lock: LockKind }
  | { readonly type: "play"; readonly story: string }
  | { readonly type: "stop-story" };
