import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { PollingState } from "grammy-safe-polling";
import type { Guard } from "./guard.js";
import type { LockSetting } from "./lock-server.js";
import type { InstanceState, StateChange } from "./protocol.js";

const programPath = fileURLToPath(new URL("./bot.mjs", import.meta.url));
const packagePath = fileURLToPath(new URL("../..", import.meta.url));
/** As a platform does: an instance that ended by itself, or was killed, is started again after this time. */
const restartAfterMs = 1_000;
/** Older changes than this have left the page's timeline. */
const memoryMs = 60_000;

export type Role = "plain" | "safe" | "rogue";

/** What `bot.mjs` is started with. */
export interface Assignment {
  readonly name: string;
  readonly role: Role;
  readonly token: string;
  readonly apiRoot: string;
  readonly handlerMs: number;
  readonly lock?: LockSetting;
}

/** What `bot.mjs` tells about a bot with a lock. */
export type News =
  | { readonly type: "state"; readonly state: PollingState }
  | { readonly type: "acquired"; readonly wallAt: number }
  | { readonly type: "standby"; readonly holder: string | undefined }
  | { readonly type: "lost"; readonly reason: string }
  | { readonly type: "conflict"; readonly kind: string }
  | {
      readonly type: "retry";
      readonly attempt: number;
      readonly attempts: number;
      readonly delayMs: number;
    };

/** How one process ended. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What it had printed last that looks like a reason. */
  readonly reason: string | undefined;
}

export interface InstanceEvents {
  changed(instance: Instance): void;
  told(instance: Instance, news: News): void;
  ended(instance: Instance, end: ProcessEnd): void;
}

/** A process of the bot that the platform keeps alive until it is told to end. */
export class Instance {
  readonly name: string;
  /** Who the Bot API server takes it for. */
  readonly tag: string;
  readonly role: Role;
  readonly changes: StateChange[] = [];
  note = "";
  /** How often it was started. */
  starts = 0;
  #isWanted = true;
  #isOver = false;
  #stateBeforeFrost: InstanceState | undefined;
  #process: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #grace: NodeJS.Timeout | undefined;
  #stderr = "";
  readonly #waiters = new Set<() => void>();
  readonly #assign: () => Assignment;
  readonly #guard: Guard;
  readonly #events: InstanceEvents;

  constructor(options: {
    readonly tag: string;
    readonly assign: () => Assignment;
    readonly guard: Guard;
    readonly events: InstanceEvents;
  }) {
    const { name, role } = options.assign();
    this.name = name;
    this.role = role;
    this.tag = options.tag;
    this.#assign = options.assign;
    this.#guard = options.guard;
    this.#events = options.events;
    this.#spawn();
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
    if (this.#process?.connected) this.#process.send({ handlerMs }, () => {});
  }

  /** Ends it at once, whatever it does. Resolves when it is gone. */
  async destroy(): Promise<void> {
    this.#isWanted = false;
    if (this.isRunning) this.kill();
    else this.#finish();
    await this.over();
  }

  #spawn(): void {
    this.starts += 1;
    this.#stderr = "";
    const child = spawn(process.execPath, [programPath], {
      cwd: packagePath,
      env: { ...process.env, ASSIGNMENT: JSON.stringify(this.#assign()) },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#process = child;
    this.#guard.watch(child);
    this.enter("starting", this.starts > 1 ? "started again by the platform" : "");
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr = `${this.#stderr}${chunk}`.slice(-10_000);
    });
    child.on("message", (news: News) => this.#events.told(this, news));
    child.once("error", (error) => {
      this.#stderr += error.message;
    });
    child.once("close", (code, signal) => this.#closed({ code, signal, reason: reasonIn(this.#stderr) }));
  }

  #closed(end: ProcessEnd): void {
    this.#process = undefined;
    this.#stateBeforeFrost = undefined;
    clearTimeout(this.#grace);
    if (end.signal === "SIGKILL") this.enter("killed", "SIGKILL");
    // SIGTERM ends a process that is not ready for it yet.
    else if (!this.#isWanted && (end.code === 0 || end.signal === "SIGTERM")) this.enter("stopped");
    else this.enter("crashed", end.reason ?? `code ${end.code ?? end.signal}`);
    this.#events.ended(this, end);
    if (this.#isWanted) this.#restart = setTimeout(() => this.#spawn(), restartAfterMs);
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
