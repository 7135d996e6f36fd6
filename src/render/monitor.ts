import { exponentialDelayMs } from "../backoff.js";
import { type Clock, elapsedMs, type Moment } from "../clock.js";
import { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import type { HandleInternals, SafePolling } from "../session/handle.js";
import { type Deferred, deferred, wait } from "../waiting.js";
import { RenderApiClient, RenderApiError } from "./api-client.js";
import { gatherFacts, type RenderFacts } from "./facts.js";
import {
  apiTrouble,
  FindingBoard,
  findingsOf,
  type RenderMonitorEvents,
  type RenderRepair,
} from "./findings.js";
import { hasPassed, Repairer, type RepairRecord, type Standing } from "./repairs.js";

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
export class Monitor {
  readonly #options: MonitorOptions;
  readonly #ending = new AbortController();
  readonly #hub: EventHub<RenderMonitorEvents>;
  readonly #board: FindingBoard;
  readonly #client: RenderApiClient;
  readonly #repairer: Repairer;
  readonly #ended: Promise<void>;
  #lookWanted: Deferred<void> = deferred();
  #conflicts: readonly Moment[] = [];
  /** Labels of the instances that this one has stood by for. */
  readonly #holders = new Set<string>();
  #failedLooks = 0;

  constructor(options: MonitorOptions) {
    this.#options = options;
    const { apiKey, apiRoot, clock, internals, logger, random, repair, repairRecord } = options;
    const { signal } = this.#ending;
    this.#hub = new EventHub(logger);
    this.#board = new FindingBoard(this.#hub, logger);
    this.#client = new RenderApiClient({ apiKey, apiRoot, clock, random, signal });
    this.#repairer = new Repairer({
      allowed: repair,
      record: repairRecord,
      tools: { client: this.#client, bot: internals.bot, clock, signal },
      hub: this.#hub,
      logger,
    });
    this.#ended = this.#run();
  }

  get hub(): EventHub<RenderMonitorEvents> {
    return this.#hub;
  }

  get board(): FindingBoard {
    return this.#board;
  }

  /** Idempotent; never rejects. */
  async stop(): Promise<void> {
    this.#ending.abort();
    this.#lookWanted.resolve();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { polling, internals, clock, logger } = this.#options;
    const { signal } = this.#ending;
    const undo = [
      internals.showFindings(() => this.#board.report()),
      polling.on("conflict", ({ kind }) => {
        const isFresh = (at: Moment) => elapsedMs(at, clock.now()) < conflictFreshMs;
        if (kind === "other-poller") this.#conflicts = [...this.#conflicts.filter(isFresh), clock.now()];
        this.#lookWanted.resolve();
      }),
      polling.on("standby", ({ holder }) => void this.#holders.add(holder?.instance ?? "")),
      polling.on("state", () => this.#stopWithPolling()),
    ];
    this.#stopWithPolling();
    // Listeners can be attached before anything happens.
    await wait(clock, 0, signal);
    while (!signal.aborted) {
      this.#lookWanted = deferred();
      const facts = await this.#look();
      logger.debug({ findings: this.#board.findings.length }, "asked Render");
      await this.#pause(facts);
    }
    for (const remove of undo) remove();
  }

  #stopWithPolling(): void {
    const { state } = this.#options.polling;
    if (state === "stopped" || state === "failed") this.#ending.abort();
    if (this.#ending.signal.aborted) this.#lookWanted.resolve();
  }

  /** Looks and repairs. Never rejects; undefined: Render could not be asked. */
  async #look(): Promise<RenderFacts | undefined> {
    const { internals, serviceId, runsIn, clock } = this.#options;
    const { signal } = this.#ending;
    try {
      const { bot } = internals;
      const facts = await gatherFacts({ client: this.#client, bot, serviceId, runsIn, clock, signal });
      this.#failedLooks = 0;
      this.#board.replace(findingsOf(facts, internals.isLockShared), this.#today());
      await this.#repairer.repair(facts, this.#standing());
      return facts;
    } catch (error) {
      if (signal.aborted) return undefined;
      this.#failedLooks += 1;
      const isKeyRefused = error instanceof RenderApiError && error.failure === "unauthorized";
      this.#board.add(apiTrouble(describeError(error), isKeyRefused), this.#today());
      return undefined;
    }
  }

  /** Until the next look is due; with nothing found, until a conflict. */
  async #pause(facts: RenderFacts | undefined): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#ending;
    if (!facts) {
      await wait(clock, exponentialDelayMs(troubleBackoff, this.#failedLooks - 1, random), signal);
      return;
    }
    const gapMs = Math.max(leastGapMs, this.#client.takeCallCount() * gapPerCallMs);
    if (!(await wait(clock, gapMs, signal)) || this.#hasFreshConflict()) return;
    const wanted = new AbortController();
    const untilWanted = this.#lookWanted.promise.then(() => wanted.abort());
    if (facts.overlap) await wait(clock, overlapRecheckMs, wanted.signal);
    else if (this.#board.findings.length > 0) await wait(clock, recheckMs, wanted.signal);
    else await untilWanted;
  }

  #standing(): Standing {
    const { polling, internals, clock, isPreview, repairRecord } = this.#options;
    const now = clock.now();
    const last = this.#conflicts.at(-1);
    const isQuiet = last === undefined || hasPassed(quietMs, last, now);
    const isPolling = polling.state === "polling";
    const hasProof = internals.isLockShared && internals.trusted();
    return {
      isEntitled: (isPolling && isQuiet) || (hasProof && (isPolling || polling.state === "conflict")),
      hasConflict: this.#hasFreshConflict(),
      conflictsAt: this.#conflicts.map(({ wallMs }) => wallMs),
      leaseSince: polling.lease?.since.getTime(),
      holders: [...this.#holders],
      isPreview,
      lastRepairAt: repairRecord.lastRepairAt,
      now,
    };
  }

  #hasFreshConflict(): boolean {
    const last = this.#conflicts.at(-1);
    return last !== undefined && elapsedMs(last, this.#options.clock.now()) < conflictFreshMs;
  }

  #today(): Date {
    return new Date(this.#options.clock.now().wallMs);
  }
}
