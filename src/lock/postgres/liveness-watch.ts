import type { Logger } from "../../logger.js";
import { describeError } from "../../redact.js";
import { livenessClass, setSettings } from "./sql.js";
import type { Wire } from "./wire.js";

/** A session on the server that holds keys we want. */
export interface HolderSession {
  readonly pid: string;
  readonly name: string;
}

export interface LivenessWatchOptions {
  open(signal: AbortSignal): Promise<Pick<Wire, "ask">>;
  readonly applicationName: string;
  /** Ends the watch for good. */
  readonly signal: AbortSignal;
  readonly logger: Logger;
  wantedKeys(): readonly string[];
  onWake(): void;
}

/** So many failures in a row are no restart of the server, but a want of rights or of connections. */
const toldFailures = 3;

interface Run {
  readonly controller: AbortController;
  target?: HolderSession | undefined;
}

/**
 * Waits on the server for the end of the session that holds most of the wanted keys. Every session holds an
 * advisory lock on its own process id as long as it lives; the watch is a second connection, blocked on that
 * lock. It is closed when there is nobody to wait for.
 */
export class LivenessWatch {
  readonly #options: LivenessWatchOptions;
  #holders: ReadonlyMap<string, HolderSession> = new Map();
  /** Sessions whose end was seen, until they stop being holders: a lock taken by hand has no liveness lock. */
  #ended: ReadonlySet<string> = new Set();
  #run: Run | undefined;
  #failures = 0;
  /** How many refused claims are let go by before the next try. */
  #pause = 0;

  constructor(options: LivenessWatchOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /** Takes over who holds which keys, as the last claim saw it. */
  follow(holders: ReadonlyMap<string, HolderSession>): void {
    if (this.#options.signal.aborted) return;
    this.#holders = holders;
    const present = new Set([...holders.values()].map(idOf));
    this.#ended = new Set([...this.#ended].filter((id) => present.has(id)));
    const counts = this.#countKeys();
    const target = this.#run?.target;
    if (target && !counts.has(idOf(target))) this.#stop();
    if (this.#run || counts.size === 0) return;
    if (this.#pause > 0) this.#pause -= 1;
    else void this.#start();
  }

  async #start(): Promise<void> {
    const { applicationName, logger, onWake, open } = this.#options;
    const run: Run = { controller: new AbortController() };
    this.#run = run;
    try {
      const wire = await open(run.controller.signal);
      await wire.ask(watchSettings(applicationName));
      for (run.target = this.#choose(); run.target; run.target = this.#choose()) {
        const isOver = await waitForEnd(wire, run.target);
        this.#worked(logger);
        if (!isOver) continue;
        this.#ended = new Set([...this.#ended, idOf(run.target)]);
        onWake();
      }
    } catch (error) {
      if (this.#run === run) this.#failed(error, logger);
    }
    run.controller.abort();
    if (this.#run === run) this.#run = undefined;
  }

  /** The poll is the backstop. Of the refused claims that follow, fewer and fewer start again: 0, 1, 3, … 63 are let go by. */
  #failed(error: unknown, logger: Logger): void {
    this.#failures += 1;
    this.#pause = Math.min(2 ** (this.#failures - 1), 64) - 1;
    const level = this.#failures === toldFailures ? "warn" : "debug";
    logger[level](
      { lock: "postgres", error: describeError(error) },
      "no second connection to the server: the death of the holder is noticed by asking about once a second. Let the role have two connections for each instance, and DO blocks in plpgsql",
    );
  }

  #worked(logger: Logger): void {
    if (this.#failures >= toldFailures) {
      logger.info({ lock: "postgres" }, "the second connection to the server works again");
    }
    this.#failures = 0;
  }

  #stop(): void {
    this.#run?.controller.abort();
    this.#run = undefined;
  }

  #choose(): HolderSession | undefined {
    return [...this.#countKeys().values()].sort((a, b) => b.keys - a.keys)[0]?.session;
  }

  /** How many of the wanted keys each session holds. */
  #countKeys(): ReadonlyMap<string, { readonly session: HolderSession; readonly keys: number }> {
    const counts = new Map<string, { readonly session: HolderSession; readonly keys: number }>();
    for (const key of this.#options.wantedKeys()) {
      const session = this.#holders.get(key);
      if (!session || this.#ended.has(idOf(session))) continue;
      counts.set(idOf(session), { session, keys: (counts.get(idOf(session))?.keys ?? 0) + 1 });
    }
    return counts;
  }
}

/** Process ids are used again; names are not. */
function idOf({ pid, name }: HolderSession): string {
  return `${pid} ${name}`;
}

/**
 * True: the session is gone. False: it lives, and it is time to look again whom to wait for. The timeout is
 * caught on the server, which would write every error into its log.
 */
async function waitForEnd(wire: Pick<Wire, "ask">, session: HolderSession): Promise<boolean> {
  const [row] = await wire.ask(`SELECT set_config('gsp.ended', 'f', false);
DO $$BEGIN
  PERFORM pg_advisory_xact_lock_shared(${livenessClass}, ${session.pid});
  PERFORM set_config('gsp.ended', 't', false);
EXCEPTION WHEN lock_not_available THEN
END$$;
SELECT current_setting('gsp.ended') AS ended`);
  return row?.ended === "t";
}

/**
 * A statement that waits keeps its snapshot, and with it every dead row of the database that is younger, from
 * being vacuumed: hence `lock_timeout`, after which the wait starts anew. `client_connection_check_interval`
 * ends the wait of a standby that died; at each, where `log_lock_waits` is on, the server writes a line.
 */
function watchSettings(applicationName: string): string {
  return setSettings({
    application_name: applicationName,
    lock_timeout: 60_000,
    statement_timeout: 0,
    transaction_timeout: 0,
    idle_session_timeout: 0,
    client_connection_check_interval: 10_000,
    tcp_keepalives_idle: 5,
    tcp_keepalives_interval: 2,
    tcp_keepalives_count: 3,
  });
}
