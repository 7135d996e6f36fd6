import { describeError } from "../../redact.js";
import type { Claim, ClaimRequest, ConnectContext, Holder, LockConnection } from "../backend.js";
import { passOn } from "../wake-message.js";
import { applicationName, holderFromName, namePrefix } from "./application-name.js";
import { checkServer, proveExclusion, type ServerChecks } from "./check-server.js";
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
import { callsOfBoth, channel, keyNumber, wakeMessage, wakePayload } from "./sql.js";
import { connectWith, openWire, type Row, type Wire } from "./wire.js";

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
        passOn(wakeMessage(payload), context);
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
    return sessionConnection({
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
export function sessionConnection(parts: SessionParts): LockConnection {
  const { context, end, memoryAgeMs, pid, watch, wire } = parts;
  const numbers = new Map<string, string>();
  const keysByNumber = new Map<string, string>();

  function numberOf(key: string): string {
    const number = numbers.get(key) ?? keyNumber(key);
    numbers.set(key, number);
    keysByNumber.set(number, key);
    return number;
  }

  /** The keys are with the session that took them: an answer from another one means that a pooler moved us. */
  function checkSession(row: Row | undefined): void {
    if (row?.server === pid && (row.standby ?? "f") === "f") return;
    const error = new Error("moved to another process of the server, or the server has become a replica");
    wire.destroy(error);
    throw error;
  }

  /**
   * Where the server's table of locks is full, the statement fails and keeps what it had taken by then: that is given
   * back, and as many keys are tried again. `full`: why the others were not.
   */
  async function tryKeys(asked: ReadonlyMap<string, ClaimRequest>) {
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

  /** The owner behind a holder, where it is this connection or the former one of this process. */
  function ownerOf({ holder, name }: Row, { formerOwner }: ClaimRequest): string | undefined {
    if (holder === pid) return context.owner;
    return formerOwner !== undefined && name?.startsWith(namePrefix(formerOwner)) ? formerOwner : undefined;
  }

  /** Earlier sessions of this process, by process id and owner, may outlive their connections on the server. */
  async function endFormers(formers: ReadonlyMap<string, string>): Promise<void> {
    for (const [formerPid, owner] of formers) {
      try {
        const ended = await wire.ask(terminate(formerPid, namePrefix(owner)));
        if (ended.length > 0) context.onWake();
      } catch (error) {
        context.logger.debug(
          { error: describeError(error) },
          "a former session was not ended; it will time out",
        );
      }
    }
  }

  return {
    memoryAgeMs,
    ...callsOfBoth(wire),

    async claim(requests) {
      // A key that is asked for twice is granted to the first request.
      const asked = new Map(requests.toReversed().map((request) => [numberOf(request.key), request]));
      const { rows, full } = await tryKeys(asked);
      for (const row of rows) checkSession(row);
      const holders = new Map<string, HolderSession>();
      const formers = new Map<string, string>();
      const claims = new Map<ClaimRequest, Claim>();
      for (const row of rows) {
        const request = asked.get(row.key ?? "");
        if (!request) continue;
        const hasNoPlace =
          full !== undefined && row.granted !== "t" && !row.holder && request.mayTakeForgotten;
        const owner = ownerOf(row, request);
        const claim = claimFrom(row, request, owner);
        claims.set(request, hasNoPlace ? { granted: false, failed: full } : claim);
        const { holder, name } = row;
        if (!holder || holder === pid) continue;
        holders.set(request.key, { pid: holder, name: name ?? "" });
        if (owner !== undefined) formers.set(holder, owner);
      }
      watch.follow(holders);
      await endFormers(formers);
      return requests.map((request) => claims.get(request) ?? { granted: false, holder: {} });
    },

    async beat() {
      const [row] = await wire.askFirst(beat);
      checkSession(row);
      const ours = row?.keys?.split(",") ?? [];
      return ours.map((number) => keysByNumber.get(number)).filter((key) => key !== undefined);
    },

    async release(keys) {
      await wire.ask(releaseKeys(keys.map(numberOf), wakePayload(keys)));
    },

    async inspect(key) {
      const [row] = await wire.ask(findHolder(numberOf(key)));
      return row && holderFrom(row);
    },

    async evict(key, silentMs) {
      return (await wire.ask(terminateSilent(numberOf(key), silentMs))).length > 0;
    },

    async close() {
      end();
    },
  };
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
