import { Socket } from "node:net";
import { describeError } from "../../redact.js";
import type { ConnectContext, LockConnection } from "../backend.js";
import { asConfigError, configError } from "./connect-errors.js";
import { unusedSettings } from "./options.js";

interface WireOptions {
  /** Configuration of the `pg` client. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Destroys the socket whenever it aborts. */
  readonly signal: AbortSignal;
  onNotification?(message: Notification): void;
  /** The connection broke. Called at most once, and only after it was open; not for an abort of the signal. */
  onClosed?(error: unknown): void;
}

interface Job {
  readonly sql: string;
  resolve(rows: readonly Row[]): void;
  reject(error: unknown): void;
}

/** The protocol's number for it, and how long the request may take. */
const cancelRequest = 80_877_102;
const cancelMs = 2_000;

const ownSettings = {
  ...Object.fromEntries(unusedSettings.map((name) => [name, undefined])),
  binary: false,
  pipeline: false,
};

/**
 * Opens a connection under one signal for everything that belongs to it: it aborts when the context's signal
 * does while connecting, when connecting fails, and later when the connection is closed or breaks.
 */
export async function connectWith(
  context: ConnectContext,
  open: (life: AbortController) => Promise<LockConnection>,
): Promise<LockConnection> {
  context.signal.throwIfAborted();
  const life = new AbortController();
  const giveUp = () => life.abort(context.signal.reason);
  context.signal.addEventListener("abort", giveUp);
  try {
    return await open(life);
  } catch (error) {
    life.abort();
    throw asConfigError(error);
  } finally {
    context.signal.removeEventListener("abort", giveUp);
  }
}

/** Opens a connection to the server. */
export async function openWire(options: WireOptions): Promise<Wire> {
  const pg = await loadPg();
  options.signal.throwIfAborted();
  const wire = makeWire(pg, options);
  await wire.open();
  return wire;
}

function makeWire(pg: PgModule, options: WireOptions): Wire {
  try {
    return new Wire(pg, options);
  } catch (error) {
    // Nothing was sent yet: only the settings can be wrong.
    throw configError(
      `\`pg\` cannot use the settings of the connection: ${describeError(error)}. Correct them; a file that they name (sslrootcert, sslcert, sslkey) must be one that this process can read.`,
      error,
    );
  }
}

/**
 * One connection with a queue of its own: one message at a time. The socket is ours, so that it can be destroyed
 * at any moment: `client.end()` waits for the server.
 */
export class Wire {
  readonly #options: WireOptions;
  readonly #client: PgClient;
  readonly #queue: Job[] = [];
  #socket: Socket | undefined;
  #active: Job | undefined;
  #isOpen = false;
  #closed: { readonly error: unknown } | undefined;

  constructor({ Client }: PgModule, options: WireOptions) {
    this.#options = options;
    const { config, signal, onNotification } = options;
    const createStream = config.stream as ((config: unknown) => Socket) | undefined;
    this.#client = new Client({
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
      ...config,
      ...ownSettings,
      types: { getTypeParser: () => (text: string) => text },
      stream: (streamConfig: unknown) => {
        this.#socket = createStream?.(streamConfig) ?? new Socket();
        return this.#socket;
      },
    });
    if ("native" in this.#client) {
      throw new Error(
        "it is pg-native, which ends the process when a connection is cut; unset NODE_PG_FORCE_NATIVE",
      );
    }
    this.#client.on("error", this.destroy);
    this.#client.on("end", () => this.destroy());
    if (onNotification) this.#client.on("notification", onNotification);
    signal.addEventListener("abort", this.#abort);
  }

  /** Process id that was announced at connect: that of the server process, unless a pooler is in between. */
  get announcedPid(): string {
    return String(this.#client.processID);
  }

  async open(): Promise<void> {
    await this.#client.connect().catch(this.destroy);
    if (this.#closed) throw this.#closed.error;
    this.#isOpen = true;
  }

  /** Sends one message of the simple protocol and resolves with the rows of its last statement that gives any. */
  ask(sql: string): Promise<readonly Row[]> {
    return this.#enqueue(sql, (job) => this.#queue.push(job));
  }

  /** The same, ahead of everything that was not sent yet: a beat must not wait behind claims. */
  askFirst(sql: string): Promise<readonly Row[]> {
    return this.#enqueue(sql, (job) => this.#queue.unshift(job));
  }

  /** Destroys the socket and rejects whatever waits for an answer. */
  readonly destroy = (error: unknown = new Error("the connection to Postgres was closed")): void => {
    if (this.#closed) return;
    this.#closed = { error };
    const { signal, onClosed } = this.#options;
    signal.removeEventListener("abort", this.#abort);
    if (this.#active && this.#isOpen) this.#cancel();
    this.#socket?.destroy();
    for (const job of [this.#active, ...this.#queue.splice(0)]) job?.reject(error);
    if (this.#isOpen && !signal.aborted) onClosed?.(error);
  };

  /**
   * Tells the server to give up the statement that it carries out: one that waits there, for a lock or for the
   * confirmation of a standby, outlives the socket and keeps a connection of the server. Nobody waits for an answer.
   */
  #cancel(): void {
    const { host = "", port, processID, secretKey } = this.#client;
    // Longer keys are of a protocol that is not asked for.
    if (!processID || typeof secretKey !== "number") return;
    const request = Buffer.alloc(16);
    request.writeInt32BE(16, 0);
    request.writeInt32BE(cancelRequest, 4);
    request.writeInt32BE(processID, 8);
    request.writeInt32BE(secretKey, 12);
    const { remoteAddress } = this.#socket ?? {};
    const place = host.startsWith("/")
      ? { path: `${host}/.s.PGSQL.${port}` }
      : { host: remoteAddress ?? host, port: Number(port) };
    new Socket({ signal: AbortSignal.timeout(cancelMs) })
      .on("error", () => {})
      .unref()
      .connect(place)
      .end(request);
  }

  readonly #abort = (): void => this.destroy(this.#options.signal.reason);

  #enqueue(sql: string, add: (job: Job) => void): Promise<readonly Row[]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed.error);
      add({ sql, resolve, reject });
      void this.#sendNext();
    });
  }

  async #sendNext(): Promise<void> {
    if (this.#active) return;
    const job = this.#queue.shift();
    if (!job) return;
    this.#active = job;
    try {
      const results = await this.#client.query(job.sql);
      job.resolve([results].flat().findLast(({ rows }) => rows.length > 0)?.rows ?? []);
    } catch (error) {
      job.reject(error);
    }
    this.#active = undefined;
    void this.#sendNext();
  }
}

/** What this library uses of `pg`; structural, so that users without `@types/pg` can compile. */
export interface PgModule {
  readonly Client: new (config: object) => PgClient;
}

export interface PgClient {
  /** Process id that the server, or a pooler in front of it, announced at connect. */
  readonly processID: number | null;
  readonly secretKey?: number | null;
  readonly host?: string;
  readonly port?: number | string;
  connect(): Promise<unknown>;
  /** Without values: one message of the simple protocol; several statements give several results. */
  query(sql: string): Promise<PgResult | PgResult[]>;
  on(event: "error", listener: (error: unknown) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  on(event: "notification", listener: (message: Notification) => void): unknown;
}

interface PgResult {
  readonly rows: Row[];
}

/** Every value as the server's text: type parsers that the application has set do not reach us. */
export type Row = Readonly<Record<string, string | null>>;

interface Notification {
  readonly processId: number;
  readonly channel: string;
  readonly payload?: string | undefined;
}

/** Loads the optional peer dependency `pg` at the first use of the lock. */
async function loadPg(): Promise<PgModule> {
  try {
    // Before 8.15 `pg` has no ES module of its own: everything is in the default export.
    const pg = (await import("pg")) as unknown as PgModule & { readonly default?: PgModule };
    return pg.default ?? pg;
  } catch (error) {
    // After the first line come the paths that were tried.
    const [reason] = describeError(error).split("\n");
    throw configError(
      `The Postgres lock needs the package \`pg\`, which cannot be loaded (${reason}). Install it (npm i pg), and unset NODE_PG_FORCE_NATIVE where it is set.`,
      error,
    );
  }
}
