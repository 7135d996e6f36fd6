import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import type { HandleInternals, SafePolling } from "../session/handle.js";
import { type Deferred, deferred, exponentialDelayMs, wait } from "../waiting.js";
import { RenderApiClient } from "./api-client.js";
import { gatherFacts, type RenderFacts } from "./facts.js";
import {
  apiTrouble,
  FindingBoard,
  findingsOf,
  type RenderMonitor,
  type RenderMonitorEvents,
  type RenderRepair,
} from "./findings.js";
import { hasPassed, makeRepairer, type RepairRecord, type Standing } from "./repairs.js";

/** From the end of one look to the next, in milliseconds, whatever happens. */
const leastGapMs = 30_000;
/** More after a look of many calls: Render allows its user 400 a minute, of which we leave half to others. */
const gapPerCallMs = 300;
/** A conflict is a reason to look, and to repair, for this long. */
const conflictFreshMs = 5 * 60_000;
/** A poll that has met no conflict for this long meets none: the library's conflict-free window. */
const quietMs = 10_000;
/** When to look again at an overlap, and at what only people can change, in milliseconds. */
const overlapRecheckMs = 2 * 60_000;
const recheckMs = 15 * 60_000;
const troubleBackoff = { firstMs: 30_000, capMs: 10 * 60_000 };

export interface MonitorOptions {
  readonly polling: SafePolling;
  readonly internals: HandleInternals;
  readonly serviceId: string;
  /** RENDER_SERVICE_ID, where `serviceId` names another one. */
  readonly runsIn?: string | undefined;
  readonly apiKey: string;
  readonly apiRoot: string;
  /** This process runs in a preview; Render's API says so too, but in a field that it does not promise. */
  readonly isPreview: boolean;
  readonly repair: readonly RenderRepair[];
  /** Shared by the monitors of a process. */
  readonly repairRecord: RepairRecord;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * Looks for the reason of conflicts as long as the handle lives: once at the start, then whenever the handle meets
 * one. Without a conflict and without a finding it does nothing at all.
 */
export function startMonitor(options: MonitorOptions): RenderMonitor {
  const { polling, internals, serviceId, runsIn, isPreview, repairRecord, logger, clock, random } = options;
  const { bot } = internals;
  const ending = new AbortController();
  const { signal } = ending;
  const hub = new EventHub<RenderMonitorEvents>(logger);
  const board = new FindingBoard(hub, logger);
  const client = new RenderApiClient({ ...options, signal });
  const tools = { client, bot, clock, signal };
  const repair = makeRepairer({ allowed: options.repair, record: repairRecord, tools, hub, logger });
  let lookWanted: Deferred<void> = deferred();
  let conflicts: readonly Moment[] = [];
  /** Labels of the instances that this one has stood by for. */
  const holders = new Set<string>();
  let failedLooks = 0;

  const end = () => {
    ending.abort();
    lookWanted.resolve();
  };
  const endWithPolling = () => {
    if (polling.state === "stopped" || polling.state === "failed") end();
  };
  const isFresh = (at: Moment) => elapsedMs(at, clock.now()) < conflictFreshMs;
  const today = () => new Date(clock.now().wallMs);

  async function run(): Promise<void> {
    const undo = [
      internals.showFindings(() => board.report()),
      polling.on("conflict", ({ kind }) => {
        if (kind === "other-poller") conflicts = [...conflicts.filter(isFresh), clock.now()];
        lookWanted.resolve();
      }),
      polling.on("standby", ({ holder }) => void holders.add(holder?.instance ?? "")),
      polling.on("state", endWithPolling),
    ];
    endWithPolling();
    // Listeners can be attached before anything happens.
    await wait(clock, 0, signal);
    while (!signal.aborted) {
      lookWanted = deferred();
      const facts = await look();
      logger.debug({ findings: board.findings.length }, "asked Render");
      await pause(facts);
    }
    for (const remove of undo) remove();
  }

  /** Looks and repairs. Never rejects; undefined: Render could not be asked. */
  async function look(): Promise<RenderFacts | undefined> {
    try {
      const facts = await gatherFacts({ ...tools, serviceId, runsIn });
      failedLooks = 0;
      board.replace(findingsOf(facts, internals.isLockShared), today());
      await repair(facts, standing());
      return facts;
    } catch (error) {
      if (signal.aborted) return undefined;
      failedLooks += 1;
      board.add(apiTrouble(error), today());
      return undefined;
    }
  }

  /** Until the next look is due; with nothing found, until a conflict. */
  async function pause(facts: RenderFacts | undefined): Promise<void> {
    if (!facts) {
      await wait(clock, exponentialDelayMs(troubleBackoff, failedLooks - 1, random), signal);
      return;
    }
    const gapMs = Math.max(leastGapMs, client.takeCallCount() * gapPerCallMs);
    if (!(await wait(clock, gapMs, signal)) || conflicts.some(isFresh)) return;
    const wanted = new AbortController();
    const untilWanted = lookWanted.promise.then(() => wanted.abort());
    if (facts.overlap) await wait(clock, overlapRecheckMs, wanted.signal);
    else if (board.findings.length > 0) await wait(clock, recheckMs, wanted.signal);
    else await untilWanted;
  }

  function standing(): Standing {
    const now = clock.now();
    const last = conflicts.at(-1);
    const isQuiet = last === undefined || hasPassed(quietMs, last, now);
    const isPolling = polling.state === "polling";
    const hasProof = internals.isLockShared && internals.trusted();
    return {
      isEntitled: (isPolling && isQuiet) || (hasProof && (isPolling || polling.state === "conflict")),
      hasConflict: conflicts.some(isFresh),
      conflictsAt: conflicts.map(({ wallMs }) => wallMs),
      leaseSince: polling.lease?.since.getTime(),
      holders: [...holders],
      isPreview,
      lastRepairAt: repairRecord.lastRepairAt,
      now,
    };
  }

  const ended = run();
  const stop = () => {
    end();
    return ended;
  };
  return {
    get findings() {
      return board.findings;
    },
    on: (event, listener) => hub.on(event, listener),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
