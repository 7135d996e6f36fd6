import { type Channel, channel } from "node:diagnostics_channel";
import type { SafePollingEvents } from "./events.js";

/** Which handle a message is about. */
export interface HandleLabels {
  readonly instance: string;
  readonly key: string;
}

/** Messages of the `node:diagnostics_channel` channels `grammy-safe-polling:<name>`. */
export type SafePollingMessages = {
  /** Every event of a handle, with what its listeners get. */
  readonly [E in keyof SafePollingEvents]: HandleLabels & SafePollingEvents[E];
} & {
  /**
   * A getUpdates has ended. `outcome`: "answered", or how it failed. An idle poll lasts its whole timeout. Polls
   * that we cut ourselves are not told.
   */
  readonly poll: HandleLabels & {
    readonly outcome:
      | "answered"
      | "conflict"
      | "unauthorized"
      | "refused"
      | "flood"
      | "server"
      | "cut-short"
      | "silence";
    readonly updates: number;
    readonly durationMs: number;
  };
  /**
   * A handler is about to run. `ageMs`: this machine's time minus the update's own date, which Telegram gives in
   * whole seconds; undefined for kinds of updates without one.
   */
  readonly update: HandleLabels & { readonly updateId: number; readonly ageMs: number | undefined };
  /** One beat of a lock connection, which serves all keys of the process on that lock. */
  readonly beat: {
    readonly instance: string;
    readonly lock: string;
    readonly isGood: boolean;
    readonly durationMs: number;
  };
};

export type ChannelName = keyof SafePollingMessages;

/** Node keeps one channel per name and process: the ESM and the CommonJS build publish to the same. */
export function channelName(name: ChannelName): string {
  return `grammy-safe-polling:${name}`;
}

const channels = new Map<ChannelName, Channel>();

export type Publish = typeof publish;

/** Publishes what `build` makes, which is not called unless somebody has subscribed. */
export function publish<N extends ChannelName>(name: N, build: () => SafePollingMessages[N]): void {
  let target = channels.get(name);
  if (!target) {
    target = channel(channelName(name));
    channels.set(name, target);
  }
  if (target.hasSubscribers) target.publish(build());
}
