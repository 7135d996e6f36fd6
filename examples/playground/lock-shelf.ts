import type { Guard } from "./guard.js";
import { type LockServer, lockWithoutServer, lockWithServer } from "./lock-server.js";
import type { LockKind, LockView } from "./protocol.js";

/** The locks to choose from. Servers are started beside everything else; one that cannot be had says why. */
export class LockShelf implements AsyncDisposable {
  readonly #servers = new Map<LockKind, LockServer>();
  readonly #views = new Map<LockKind, LockView>();
  readonly #starting: readonly Promise<void>[];
  readonly #onChange: () => void;

  constructor(options: { readonly guard: Guard; readonly leaseMs: number }, onChange: () => void) {
    this.#onChange = onChange;
    const directory = options.guard.temporaryDirectory("file");
    this.#put("none", lockWithoutServer({ kind: "none" }, "lock: false, as without a database"));
    this.#put("file", lockWithoutServer({ kind: "file", directory }, "a file on this machine"));
    this.#starting = (["postgres", "redis"] as const).map((kind) =>
      this.#start(kind, lockWithServer(kind, options)),
    );
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

  async #start(kind: LockKind, server: Promise<LockServer>): Promise<void> {
    this.#views.set(kind, { kind, status: "starting", note: "is being started" });
    try {
      this.#put(kind, await server);
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
