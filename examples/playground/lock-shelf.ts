import {
  fileLockServer,
  type LockServer,
  type LockServerOptions,
  postgresLockServer,
  redisLockServer,
} from "./lock-server.js";
import type { LockKind, LockView } from "./protocol.js";

/** The locks to choose from. Servers are started beside everything else; one that cannot be had says why. */
export class LockShelf implements AsyncDisposable {
  readonly #servers = new Map<LockKind, LockServer>();
  readonly #views = new Map<LockKind, LockView>();
  readonly #starting: readonly Promise<void>[];
  readonly #onChange: () => void;

  constructor(options: LockServerOptions, onChange: () => void) {
    this.#onChange = onChange;
    this.#put("file", fileLockServer(options));
    this.#starting = [
      this.#start("postgres", postgresLockServer, options),
      this.#start("redis", redisLockServer, options),
    ];
  }

  get views(): readonly LockView[] {
    return [...this.#views.values()];
  }

  /** Undefined: it cannot be had, or is not ready yet. */
  get(kind: LockKind): LockServer | undefined {
    return this.#servers.get(kind);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#starting);
    await Promise.all([...this.#servers.values()].map((server) => server[Symbol.asyncDispose]()));
  }

  async #start(
    kind: LockKind,
    make: (options: LockServerOptions) => Promise<LockServer>,
    options: LockServerOptions,
  ): Promise<void> {
    this.#views.set(kind, { kind, status: "starting", note: "is being started" });
    try {
      this.#put(kind, await make(options));
    } catch (error) {
      const lines = error instanceof Error ? error.message.trim().split("\n") : [];
      // A server's log ends with the reason.
      const note = lines.at(-1) ?? String(error);
      this.#views.set(kind, { kind, status: "unavailable", note });
    }
    this.#onChange();
  }

  #put(kind: LockKind, server: LockServer): void {
    this.#servers.set(kind, server);
    this.#views.set(kind, { kind, status: "ready", note: server.location });
  }
}
