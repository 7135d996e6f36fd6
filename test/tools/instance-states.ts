/** What an instance is doing, by its own word or as the Bot API server sees it. */
export type InstanceState =
  | "starting"
  | "standby"
  | "polling"
  /** Its poll was ended by another instance's. */
  | "conflict"
  | "draining"
  | "frozen"
  | "stopped"
  | "crashed"
  | "killed";

/** Times are monotonic milliseconds of whoever has started the instances. */
export interface StateChange {
  readonly at: number;
  readonly state: InstanceState;
}

/** From these a poll leads to polling; a poll that follows SIGTERM only confirms. */
export const beforePolling: ReadonlySet<InstanceState> = new Set(["starting", "standby", "conflict"]);
