import type { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import { describeError } from "../redact.js";
import type { HealthFinding } from "../session/report.js";
import { RenderApiError } from "./api-client.js";
import type { TokenUse } from "./duplicates.js";
import type { RenderFacts } from "./facts.js";
import { isScaledOut } from "./services.js";

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

/** A running monitor. It ends with its handle, and keeps no process alive that has stopped polling. */
export interface RenderMonitor {
  /** What is wrong at present; also in the handle's `health()`. */
  readonly findings: readonly RenderFinding[];
  /** Adds a listener; returns what removes it. */
  on<E extends keyof RenderMonitorEvents>(
    event: E,
    listener: (event: RenderMonitorEvents[E]) => void,
  ): () => void;
  /** Ends it; a call to Render that is under way is cut. Idempotent; never rejects. */
  stop(): Promise<void>;
  /** `stop()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
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
    scaling(facts, isLockShared),
    overlap(facts),
    ...facts.duplicates.map(duplicate),
    webhook(facts),
    conflictLogs(facts),
    unreadable(facts),
  ].filter((finding) => finding !== undefined);
}

function scaling(
  { service, instances, overlap }: RenderFacts,
  isLockShared: boolean,
): RenderFinding | undefined {
  const { name, autoscaling, numInstances: wanted } = service;
  const running = instances.length;
  const hasMoreThanOne = !autoscaling && running > 1 && !overlap?.hasBegun;
  if (!isScaledOut(service) && !hasMoreThanOne) return undefined;
  const severity = isLockShared ? "info" : "warning";
  const advice = (remedy: string) =>
    isLockShared
      ? "They share a lock, so one polls and the others stand by."
      : `Nothing keeps them from polling at the same time: use a Postgres or Redis lock, or ${remedy} (Scaling page).`;
  if (autoscaling) {
    const { min, max } = autoscaling;
    const what = `Autoscaling is on for ${name} (${min ?? "?"} to ${max ?? "?"} instances).`;
    return { kind: "autoscaling", min, max, severity, summary: `${what} ${advice("switch it off")}` };
  }
  const what = `${name} is set to ${count(wanted, "instance")}, and ${running} ${running === 1 ? "runs" : "run"}.`;
  return {
    kind: "several-instances",
    wanted,
    running,
    severity,
    summary: `${what} ${advice("set it to one")}`,
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
  const finding = { kind: "duplicate-service", service: { id, name }, isPreview, token } as const;
  return token === "same"
    ? {
        ...finding,
        severity: "warning",
        summary: `${what} has the token of this bot. Unless it shares this one's lock, both poll: suspend it, or give it a bot of its own.`,
      }
    : {
        ...finding,
        severity: "info",
        summary: `${what} has another token of this bot. That token does not work, so it cannot poll: remove it there.`,
      };
}

function webhook({ webhook }: RenderFacts): RenderFinding | undefined {
  if (!webhook) return undefined;
  const { host, serviceName } = webhook;
  const where = serviceName === undefined ? host : `${host}, your service ${serviceName}`;
  const summary = `A webhook is set for this bot, to ${where}. Telegram refuses polls until it is deleted: keep either the webhook or the polling.`;
  return { kind: "webhook", host, serviceName, severity: "warning", summary };
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

function unreadable({ unreadable: names }: RenderFacts): RenderFinding | undefined {
  if (names.length === 0) return undefined;
  const summary = `The API key cannot read the environment of: ${names.join(", ")}. If one of them runs this bot, look there by hand.`;
  return { kind: "unreadable", names, severity: "info", summary };
}

function count(number: number | undefined, noun: string): string {
  return `${number ?? "an unknown number of"} ${noun}${number === 1 ? "" : "s"}`;
}

export function apiTrouble(error: unknown): RenderFinding {
  const isKeyRefused = error instanceof RenderApiError && error.failure === "unauthorized";
  const advice = isKeyRefused
    ? "Check RENDER_API_KEY: it may have been revoked."
    : "It is asked again later; polling goes on as before.";
  return {
    kind: "api-trouble",
    severity: "warning",
    summary: `Render's API did not answer as it should (${describeError(error)}). ${advice}`,
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

  report(): readonly HealthFinding[] {
    return [...this.#entries.values()].map(({ finding: { kind, summary }, since, lastSeenAt }) => {
      return { source: "render", kind, summary, since, lastSeenAt };
    });
  }

  /** All that was found at a look: what is not among it is gone. */
  replace(findings: readonly RenderFinding[], now: Date): void {
    const present = new Set(findings.map(identityOf));
    for (const finding of findings) this.add(finding, now);
    for (const [identity, { finding }] of this.#entries) {
      if (present.has(identity)) continue;
      this.#entries.delete(identity);
      this.#logger.info({ finding: finding.kind }, "found before, and gone now");
      this.#hub.emit("gone", finding);
    }
  }

  /** One more, beside what was found before. */
  add(finding: RenderFinding, now: Date): void {
    const identity = identityOf(finding);
    const known = this.#entries.get(identity);
    this.#entries.set(identity, { finding, since: known?.since ?? now, lastSeenAt: now });
    if (known) return;
    const level = finding.severity === "warning" ? "warn" : "info";
    this.#logger[level]({ finding: finding.kind }, finding.summary);
    this.#hub.emit("finding", finding);
  }
}
