import type { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import type { HealthFinding } from "../session/report.js";
import type { TokenUse } from "./duplicates.js";
import type { RenderFacts } from "./facts.js";
import { isScaledOut, type RenderService } from "./services.js";

/** A repair that the monitor may be allowed to make. */
export type RenderRepair = "scale" | "suspend-duplicate" | "delete-webhook";

export const renderRepairs: readonly RenderRepair[] = ["scale", "suspend-duplicate", "delete-webhook"];

/** A repair that the monitor makes. */
export interface RenderRepairEvent {
  readonly repair: RenderRepair;
  /** The service that it is done to; undefined for the webhook. */
  readonly service: RenderServiceReference | undefined;
  /** What is done, for people. */
  readonly description: string;
}

/** Events of a monitor and what their listeners get. */
export interface RenderMonitorEvents {
  /** Something was found that was not there at the last look. */
  finding: RenderFinding;
  /** It is there no longer. */
  gone: RenderFinding;
  /** A repair comes next: `stop()` of the monitor, called by the listener, prevents it. */
  repairing: RenderRepairEvent;
  repaired: RenderRepairEvent;
  /** It is not known to be done. `error` holds nothing secret. */
  repairFailed: RenderRepairEvent & { readonly error: string };
  /** A repair that is allowed and would help must not be made now; again only for another reason. */
  repairRefused: { readonly repair: RenderRepair; readonly reason: string };
}

/** A service of the account, by what identifies it in the dashboard. */
export interface RenderServiceReference {
  readonly id: string;
  readonly name: string;
}

export interface RenderFindingSummary {
  /** What was found and what to do by hand, for people. Holds nothing secret. */
  readonly summary: string;
  /** `"info"`: normal, or harmless with this lock. */
  readonly severity: "info" | "warning";
}

/** A reason why more than one instance of the bot may poll. */
export type RenderFinding = RenderFindingSummary &
  (
    | { readonly kind: "several-instances"; readonly wanted: number | undefined; readonly running: number }
    | { readonly kind: "autoscaling"; readonly min: number | undefined; readonly max: number | undefined }
    | { readonly kind: "overlap"; readonly deployId: string | undefined }
    | {
        readonly kind: "duplicate-service";
        readonly service: RenderServiceReference;
        readonly isPreview: boolean;
        /** `"other"`: an old token of the same bot, which cannot poll. */
        readonly token: TokenUse;
      }
    | { readonly kind: "webhook"; readonly host: string; readonly serviceName: string | undefined }
    | {
        readonly kind: "conflict-logs";
        readonly lines: number;
        readonly instances: readonly string[];
        readonly lastAt: Date | undefined;
      }
    /** Where a duplicate could not be looked for. */
    | { readonly kind: "unreadable"; readonly names: readonly string[] }
    /** Render's API cannot be asked; the other findings are as they were last seen. */
    | { readonly kind: "api-trouble" }
  );

/** Two findings with one identity are the same one, seen again. */
function identityOf(finding: RenderFinding): string {
  return finding.kind === "duplicate-service" ? `${finding.kind} ${finding.service.id}` : finding.kind;
}

/** What the facts say. `isLockShared`: instances of this service exclude each other. */
export function findingsOf(facts: RenderFacts, isLockShared: boolean): readonly RenderFinding[] {
  return [
    severalInstances(facts, isLockShared),
    autoscaling(facts.service, isLockShared),
    overlap(facts),
    ...facts.duplicates.map(duplicate),
    webhook(facts),
    conflictLogs(facts),
    unreadable(facts),
  ].filter((finding) => finding !== undefined);
}

const sharedLockNote = "They share a lock, so one polls and the others stand by.";
const noLockNote = "Nothing keeps them from polling at the same time: use a Postgres or Redis lock, or";

function severalInstances(
  { service, instances, overlap }: RenderFacts,
  isLockShared: boolean,
): RenderFinding | undefined {
  if (service.autoscaling) return undefined;
  const wanted = service.numInstances;
  const running = instances.length;
  if (!isScaledOut(service) && (running <= 1 || overlap?.hasBegun)) return undefined;
  const what = `${service.name} is set to ${count(wanted, "instance")}, and ${running} ${running === 1 ? "runs" : "run"}.`;
  return {
    kind: "several-instances",
    wanted,
    running,
    severity: isLockShared ? "info" : "warning",
    summary: `${what} ${isLockShared ? sharedLockNote : `${noLockNote} set it to one (Scaling page).`}`,
  };
}

function autoscaling(service: RenderService, isLockShared: boolean): RenderFinding | undefined {
  if (!service.autoscaling || !isScaledOut(service)) return undefined;
  const { min, max } = service.autoscaling;
  const what = `Autoscaling is on for ${service.name} (${min ?? "?"} to ${max ?? "?"} instances).`;
  return {
    kind: "autoscaling",
    min,
    max,
    severity: isLockShared ? "info" : "warning",
    summary: `${what} ${isLockShared ? sharedLockNote : `${noLockNote} switch it off (Scaling page).`}`,
  };
}

function overlap({ service, overlap }: RenderFacts): RenderFinding | undefined {
  if (!overlap?.hasBegun) return undefined;
  const { deploy } = overlap;
  const what = deploy ? `Deploy ${deploy.id}` : "A restart, a scaling or maintenance";
  const seconds = Math.round(60 + service.shutdownDelayMs / 1000);
  return {
    kind: "overlap",
    deployId: deploy?.id,
    severity: "info",
    summary: `${what} replaces instances of ${service.name}: the old and the new run side by side for up to ${seconds} s. Nothing to do; it ends by itself.`,
  };
}

function duplicate({ service, token }: RenderFacts["duplicates"][number]): RenderFinding {
  const { id, name, isPreview } = service;
  const what = `The ${isPreview ? "preview" : "service"} ${name} (${id})`;
  const summary =
    token === "same"
      ? `${what} has the token of this bot. Unless it shares this one's lock, both poll: suspend it, or give it a bot of its own.`
      : `${what} has another token of this bot. That token does not work, so it cannot poll: remove it there.`;
  const severity = token === "same" ? "warning" : "info";
  return { kind: "duplicate-service", service: { id, name }, isPreview, token, severity, summary };
}

function webhook({ webhook }: RenderFacts): RenderFinding | undefined {
  if (!webhook) return undefined;
  const { host, serviceName } = webhook;
  const where = serviceName === undefined ? host : `${host}, your service ${serviceName}`;
  return {
    kind: "webhook",
    host,
    serviceName,
    severity: "warning",
    summary: `A webhook is set for this bot, to ${where}. Telegram refuses polls until it is deleted: keep either the webhook or the polling.`,
  };
}

/** Without Telegram's own words: what is told here is read as a line of the log by the monitors of other services. */
function conflictLogs({ lines }: RenderFacts): RenderFinding | undefined {
  const met = lines.filter(({ sign }) => sign !== "start");
  if (met.length === 0) return undefined;
  const instances = [...new Set(met.flatMap(({ instance }) => instance ?? []))].sort();
  const times = met.flatMap(({ at }) => at ?? []);
  const writers = instances.length === 0 ? "" : `, by ${instances.join(", ")}`;
  return {
    kind: "conflict-logs",
    lines: met.length,
    instances,
    lastAt: times.length === 0 ? undefined : new Date(Math.max(...times)),
    severity: "warning",
    summary: `The logs of the last ten minutes have ${count(met.length, "line")} about another poller${writers}. Whoever writes them polls this bot or tries to.`,
  };
}

function unreadable({ unreadable }: RenderFacts): RenderFinding | undefined {
  if (unreadable.length === 0) return undefined;
  return {
    kind: "unreadable",
    names: unreadable,
    severity: "info",
    summary: `The API key cannot read the environment of: ${unreadable.join(", ")}. If one of them runs this bot, look there by hand.`,
  };
}

function count(number: number | undefined, noun: string): string {
  if (number === undefined) return `an unknown number of ${noun}s`;
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** `what`: what went wrong, without anything secret. */
export function apiTrouble(what: string, isKeyRefused: boolean): RenderFinding {
  const advice = isKeyRefused
    ? "Check RENDER_API_KEY: it may have been revoked."
    : "It is asked again later; polling goes on as before.";
  return {
    kind: "api-trouble",
    severity: "warning",
    summary: `Render's API did not answer as it should (${what}). ${advice}`,
  };
}

interface Entry {
  readonly finding: RenderFinding;
  readonly since: Date;
  readonly lastSeenAt: Date;
}

/** What is wrong at present: tells what comes and what goes, once each. */
export class FindingBoard {
  readonly #hub: EventHub<RenderMonitorEvents>;
  readonly #logger: Logger;
  #entries = new Map<string, Entry>();

  constructor(hub: EventHub<RenderMonitorEvents>, logger: Logger) {
    this.#hub = hub;
    this.#logger = logger;
  }

  get findings(): readonly RenderFinding[] {
    return [...this.#entries.values()].map(({ finding }) => finding);
  }

  /** For the health of the handle. */
  report(): readonly HealthFinding[] {
    return [...this.#entries.values()].map(({ finding: { kind, summary }, since, lastSeenAt }) => ({
      source: "render",
      kind,
      summary,
      since,
      lastSeenAt,
    }));
  }

  /** All that was found at a look: what is not among it is gone. */
  replace(findings: readonly RenderFinding[], now: Date): void {
    const before = this.#entries;
    this.#entries = new Map();
    for (const finding of findings) this.#put(finding, before.get(identityOf(finding)), now);
    for (const [identity, { finding }] of before) {
      if (this.#entries.has(identity)) continue;
      this.#logger.info({ finding: finding.kind }, "found before, and gone now");
      this.#hub.emit("gone", finding);
    }
  }

  /** One more, beside what was found before. */
  add(finding: RenderFinding, now: Date): void {
    this.#put(finding, this.#entries.get(identityOf(finding)), now);
  }

  #put(finding: RenderFinding, known: Entry | undefined, now: Date): void {
    this.#entries.set(identityOf(finding), { finding, since: known?.since ?? now, lastSeenAt: now });
    if (known) return;
    this.#logger[finding.severity === "warning" ? "warn" : "info"](
      { finding: finding.kind },
      finding.summary,
    );
    this.#hub.emit("finding", finding);
  }
}
