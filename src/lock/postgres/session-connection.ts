import { describeError } from "../../redact.js";
import type {
  Claim,
  ClaimRequest,
  ConnectContext,
  HandoverRequest,
  Holder,
  LockConnection,
} from "../backend.js";
import { applicationName, holderFromName, namePrefix } from "./application-name.js";
import { checkServer, proveExclusion, type ServerChecks } from "./check-server.js";
import { connectWith } from "./lifetime.js";
import { type HolderSession, LivenessWatch } from "./liveness-watch.js";
import type { PostgresSettings } from "./options.js";
import {
  beat,
  claimKeys,
  findHolder,
  releaseKeys,
  setUp,
  terminate,
  terminateSilent,
  unlockKeys,
} from "./session-sql.js";
import { askClock, askNotification, channel, keyNumber, passOn, wakePayload } from "./sql.js";
import { openWire, type Row, type Wire } from "./wire.js";

/** SQLSTATE of a table of locks without a free place ("out of shared memory"). */
const outOfMemory = "53200";
const tableIsFull =
  'The server\'s table of locks is full, so this key finds no place in it. Raise `max_locks_per_transaction`, or use the lease table (`mode: "lease"`)';

/** One session on the server, whose advisory locks are the keys that it holds. */
export function connectSession(
  { config, leaseMs }: PostgresSettings,
  context: ConnectContext,
  checks: ServerChecks,
): Promise<LockConnection> {
  return connectWith(context, async (life) => {
    const { signal } = life;
    const name = applicationName(context);
    let pid: string | undefined;
    let isReady = false;
    const wire = await openWire({
      config,
      signal,
      onNotification({ channel: source, payload = "", processId }) {
        // Our own releases are announced to us too.
        if (source !== channel || String(processId) === pid) return;
        passOn(payload, context);
      },
      onClosed(error) {
        life.abort(error);
        if (isReady) context.onClosed(error);
      },
    });
    const openAnother = (ending: AbortSignal) => openWire({ config, signal: ending });
    let second: Promise<Wire> | undefined;
    const openSecond = () => {
      second ??= openAnother(signal);
      return second;
    };
    let ready: Row | undefined;
    try {
      pid = await checkServer(wire, context, checks, openSecond);
      // On its way while the first session is made ready; whoever needs it hears how that went.
      if (!checks.isProven) openSecond().catch(() => {});
      [ready] = await wire.ask(setUp(name, leaseMs));
      await proveExclusion(ready, context, checks, openSecond);
    } finally {
      second?.then(
        (opened) => opened.destroy(),
        () => {},
      );
    }
    isReady = true;
    return new SessionConnection({
      wire,
      pid,
      memoryAgeMs: Number(ready?.age),
      context,
      watch: new LivenessWatch({
        open: openAnother,
        applicationName: name,
        signal,
        logger: context.logger,
        wantedKeys: () => context.wantedKeys(),
        onWake: () => context.onWake(),
      }),
      end: () => life.abort(new Error("the lock was closed")),
    });
  });
}

interface SessionParts {
  readonly wire: Wire;
  /** Process id of the server. */
  readonly pid: string;
  readonly memoryAgeMs: number;
  readonly context: ConnectContext;
  readonly watch: LivenessWatch;
  /** Destroys every socket that belongs to the session. */
  end(): void;
}

/** The calls of a lock connection, on a session that is set up. */
export class SessionConnection implements LockConnection {
  readonly memoryAgeMs: number;
  readonly #parts: SessionParts;
  readonly #numbers = new Map<string, string>();
  readonly #keys = new Map<string, string>();

  constructor(parts: SessionParts) {
    this.memoryAgeMs = parts.memoryAgeMs;
    this.#parts = parts;
  }

  async claim(requests: readonly ClaimRequest[]): Promise<readonly Claim[]> {
    const { watch } = this.#parts;
    // A key that is asked for twice is granted to the first request.
    const asked = new Map(requests.toReversed().map((request) => [this.#numberOf(request.key), request]));
    const { rows, full } = await this.#tryKeys(asked);
    for (const row of rows) this.#checkSession(row);
    const holders = new Map<string, HolderSession>();
    const claims = new Map<ClaimRequest, Claim>();
    for (const row of rows) {
      const request = asked.get(row.key ?? "");
      if (!request) continue;
      const session = this.#otherSession(row);
      const claim = claimFrom(row, request, this.#ownerOf(row, request));
      const hasNoPlace = full !== undefined && row.granted !== "t" && !row.holder && request.mayTakeForgotten;
      claims.set(request, hasNoPlace ? { granted: false, failed: full } : claim);
      if (session) holders.set(request.key, session);
    }
    watch.follow(holders);
    await this.#endFormers(requests, holders);
    return requests.map((request) => claims.get(request) ?? { granted: false, holder: {} });
  }

  /**
   * Where the server's table of locks is full, the statement fails and keeps what it had taken by then: that is given
   * back, and as many keys are tried again. `full`: why the others were not.
   */
  async #tryKeys(asked: ReadonlyMap<string, ClaimRequest>) {
    const { wire } = this.#parts;
    let full: Error | undefined;
    for (let most = asked.size; ; ) {
      try {
        return { rows: await wire.ask(claimKeys(asked, most)), full };
      } catch (error) {
        if ((error as { code?: unknown }).code !== outOfMemory || most === 0) throw error;
        full = new Error(tableIsFull, { cause: error });
        const taken = await wire.ask(unlockKeys(asked.keys()));
        most = Math.min(taken.length, most - 1);
      }
    }
  }

  async beat(): Promise<readonly string[]> {
    const [row] = await this.#parts.wire.askFirst(beat);
    this.#checkSession(row);
    const numbers = row?.keys?.split(",") ?? [];
    return numbers.map((number) => this.#keys.get(number)).filter((key) => key !== undefined);
  }

  async release(keys: readonly string[]): Promise<void> {
    const numbers = keys.map((key) => this.#numberOf(key));
    await this.#parts.wire.ask(releaseKeys(numbers, wakePayload(keys)));
  }

  async ask(key: string, request: HandoverRequest): Promise<void> {
    await this.#parts.wire.ask(askNotification(key, request));
  }

  async inspect(key: string): Promise<Holder | undefined> {
    const [row] = await this.#parts.wire.ask(findHolder(this.#numberOf(key)));
    return row && holderFrom(row);
  }

  async clockMs(): Promise<number> {
    const [row] = await this.#parts.wire.ask(askClock);
    return Number(row?.clock);
  }

  async evict(key: string, silentMs: number): Promise<boolean> {
    return (await this.#parts.wire.ask(terminateSilent(this.#numberOf(key), silentMs))).length > 0;
  }

  async close(): Promise<void> {
    this.#parts.end();
  }

  #numberOf(key: string): string {
    const number = this.#numbers.get(key) ?? keyNumber(key);
    this.#numbers.set(key, number);
    this.#keys.set(number, key);
    return number;
  }

  /** The keys are with the session that took them: an answer from another one means that a pooler moved us. */
  #checkSession(row: Row | undefined): void {
    if (row?.server === this.#parts.pid && (row.standby ?? "f") === "f") return;
    const error = new Error("moved to another process of the server, or the server has become a replica");
    this.#parts.wire.destroy(error);
    throw error;
  }

  /** The owner behind a holder, where it is this connection or the former one of this process. */
  #ownerOf({ holder, name }: Row, { formerOwner }: ClaimRequest): string | undefined {
    if (holder === this.#parts.pid) return this.#parts.context.owner;
    return formerOwner !== undefined && name?.startsWith(namePrefix(formerOwner)) ? formerOwner : undefined;
  }

  #otherSession({ holder, name }: Row): HolderSession | undefined {
    return holder && holder !== this.#parts.pid ? { pid: holder, name: name ?? "" } : undefined;
  }

  /** An earlier session of this process may outlive its connection on the server. Where it is surely ours, it is ended. */
  async #endFormers(
    requests: readonly ClaimRequest[],
    holders: ReadonlyMap<string, HolderSession>,
  ): Promise<void> {
    const formers = new Map<string, string>();
    for (const { key, formerOwner } of requests) {
      const session = holders.get(key);
      const prefix = formerOwner === undefined ? undefined : namePrefix(formerOwner);
      if (session && prefix && session.name.startsWith(prefix)) formers.set(session.pid, prefix);
    }
    const { context, wire } = this.#parts;
    for (const [pid, prefix] of formers) {
      try {
        const ended = await wire.ask(terminate(pid, prefix));
        if (ended.length > 0) context.onWake();
      } catch (error) {
        context.logger.debug(
          { error: describeError(error) },
          "a former session was not ended; it will time out",
        );
      }
    }
  }
}

function claimFrom(row: Row, { mayTakeForgotten }: ClaimRequest, owner: string | undefined): Claim {
  if (row.granted === "t") return { granted: true, token: Number(row.token) };
  // Tried and refused without a holder in sight: somebody took it that very moment.
  const isFree = !row.holder && !mayTakeForgotten;
  if (isFree) return { granted: false, forgotten: true };
  return { granted: false, holder: { ...holderFrom(row), ...(owner !== undefined && { owner }) } };
}

/** What the session's name and, where our role may see it, the start of the session tell. */
function holderFrom(row: Row): Holder {
  const { name, started, silent } = row;
  return {
    ...holderFromName(name ?? ""),
    ...(started != null && { since: Number(started) }),
    ...(silent != null && { silentMs: Number(silent) }),
  };
}
