import type { ChildProcess } from "node:child_process";
import type { PollingState } from "grammy-safe-polling";
import { type Instance, type Line, type Scenario, startBot } from "./bot-fleet.js";
import type { InstanceState, StateChange } from "./instance-states.js";

/** As a platform does: an instance that ended by itself, or was killed, is started again after this time. */
export const restartAfterMs = 1_000;
/** Older changes than this are forgotten. */
const memoryMs = 60_000;

type Way = NonNullable<Scenario["way"]>;

interface PlatformInstanceOptions {
  readonly name: string;
  /** Who the Bot API server takes it for. */
  readonly tag: string;
  readonly way: Way;
  /** What a process of it is started with; asked at every start. */
  readonly assign: () => Omit<Scenario, "clockBeganAt" | "way">;
  readonly events: InstanceEvents;
}

/** What a bot of this library tells about itself. */
export type News = Pick<Line, "at"> &
  (
    | { readonly event: "state"; readonly state: PollingState }
    | { readonly event: "acquired" }
    | { readonly event: "standby"; readonly holder: string | undefined }
    | { readonly event: "lost"; readonly reason: string }
    | { readonly event: "asked"; readonly from: string; readonly answer: string }
    | { readonly event: "conflict"; readonly kind: string; readonly seenBy: string }
    | {
        readonly event: "retry";
        readonly attempt: number;
        readonly attempts: number;
        readonly delayMs: number;
        readonly givesWay: boolean;
      }
  );

/** How one process ended. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What it had printed last that looks like a reason. */
  readonly reason: string | undefined;
  readonly output: string;
}

export interface InstanceEvents {
  /** Another process of it runs. */
  spawned?(process: ChildProcess): void;
  changed(instance: PlatformInstance): void;
  told(instance: PlatformInstance, news: News): void;
  ended(instance: PlatformInstance, end: ProcessEnd): void;
}

/** An instance of the bot that the platform keeps alive until it is told to end. */
export class PlatformInstance {
  readonly name: string;
  readonly tag: string;
  readonly way: Way;
  readonly changes: StateChange[] = [];
  note = "";
  /** How often it was started. */
  starts = 0;
  /** How it ended after it was told to; undefined: it was down already. */
  end: ProcessEnd | undefined;
  #isWanted = true;
  #isOver = false;
  #stateBeforeFrost: InstanceState | undefined;
  #process: Instance | undefined;
  #restart: NodeJS.Timeout | undefined;
  #grace: NodeJS.Timeout | undefined;
  readonly #waiters = new Set<() => void>();
  readonly #assign: PlatformInstanceOptions["assign"];
  readonly #events: InstanceEvents;

  constructor({ name, tag, way, assign, events }: PlatformInstanceOptions) {
    this.name = name;
    this.tag = tag;
    this.way = way;
    this.#assign = assign;
    this.#events = events;
  }

  get state(): InstanceState {
    return this.changes.at(-1)?.state ?? "starting";
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** False: it was told to end, or has ended for good. */
  get isWanted(): boolean {
    return this.#isWanted;
  }

  /** It has ended for good. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Notes what it does from now on. A frozen one does it when it is thawed. */
  enter(state: InstanceState, note = ""): void {
    if (this.#stateBeforeFrost !== undefined && this.isRunning) {
      this.#stateBeforeFrost = state;
      return;
    }
    if (state === this.state && note === this.note && this.changes.length > 0) return;
    this.note = note;
    const at = performance.now();
    this.changes.push({ at, state });
    while ((this.changes[1]?.at ?? at) < at - memoryMs) this.changes.shift();
    this.#events.changed(this);
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** Resolves when one of these holds; never when it ends for good before. */
  reaches(...states: readonly InstanceState[]): Promise<void> {
    return this.#until(() => states.includes(this.state));
  }

  /** Resolves when it has ended for good. */
  over(): Promise<void> {
    return this.#until(() => this.#isOver);
  }

  /** SIGTERM, and SIGKILL when the platform's grace is over. */
  terminate(graceMs: number): void {
    this.#isWanted = false;
    if (!this.isRunning) return this.#finish();
    this.enter("draining", "SIGTERM");
    this.#process?.kill("SIGTERM");
    this.#grace = setTimeout(() => this.#process?.kill("SIGKILL"), graceMs);
  }

  /** SIGKILL; the platform starts it again. */
  kill(): void {
    this.#process?.kill("SIGKILL");
  }

  freeze(): void {
    if (!this.isRunning || this.#stateBeforeFrost !== undefined) return;
    const { state } = this;
    this.#process?.kill("SIGSTOP");
    this.enter("frozen", "SIGSTOP");
    this.#stateBeforeFrost = state;
  }

  thaw(): void {
    const state = this.#stateBeforeFrost;
    if (state === undefined) return;
    this.#stateBeforeFrost = undefined;
    this.#process?.kill("SIGCONT");
    this.enter(state, "SIGCONT");
  }

  setHandlerMs(handlerMs: number): void {
    this.#process?.setHandlerMs(handlerMs);
  }

  /** Ends it at once, whatever it does. Resolves when it is gone. */
  async destroy(): Promise<void> {
    this.#isWanted = false;
    if (this.isRunning) this.kill();
    else this.#finish();
    await this.over();
  }

  start(): void {
    this.starts += 1;
    const started = startBot(this.name, { ...this.#assign(), way: this.way });
    this.#process = started;
    this.#events.spawned?.(started.process);
    this.enter("starting", this.starts > 1 ? "started again by the platform" : "");
    started.onLine = (line) => this.#events.told(this, line as unknown as News);
    void started.exited.then((end) => {
      const output = started.output.trim();
      this.#closed({ ...end, reason: reasonIn(output), output });
    });
  }

  #closed(end: ProcessEnd): void {
    this.#process = undefined;
    this.#stateBeforeFrost = undefined;
    clearTimeout(this.#grace);
    if (end.signal === "SIGKILL") this.enter("killed", "SIGKILL");
    // SIGTERM ends a process that is not ready for it yet.
    else if (!this.#isWanted && (end.code === 0 || end.signal === "SIGTERM")) this.enter("stopped");
    else this.enter("crashed", end.reason ?? `code ${end.code ?? end.signal}`);
    if (!this.#isWanted) this.end = end;
    this.#events.ended(this, end);
    if (this.#isWanted) this.#restart = setTimeout(() => this.start(), restartAfterMs);
    else this.#finish();
  }

  #finish(): void {
    clearTimeout(this.#restart);
    clearTimeout(this.#grace);
    this.#isOver = true;
    for (const waiter of [...this.#waiters]) waiter();
  }

  #until(check: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const waiter = () => {
        if (!check()) return;
        this.#waiters.delete(waiter);
        resolve();
      };
      this.#waiters.add(waiter);
      waiter();
    });
  }
}

/** `GrammyError: Call to 'getUpdates' failed! (409: Conflict: …)` -> `409: Conflict: …`, without its advice. */
function reasonIn(output: string): string | undefined {
  const line = output.split("\n").find((text) => /^\w*Error\b/.test(text.trim()));
  const inside = line && /\((\d{3}: [^;)]*)/.exec(line)?.[1];
  return (inside ?? line)?.trim();
}
