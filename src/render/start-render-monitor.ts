import { chooseLogger } from "../choose-logger.js";
import { systemClock } from "../clock.js";
import { SafePollingError } from "../errors.js";
import type { Logger } from "../logger.js";
import { checkOptions, invalidOption, suggestion } from "../option-checks.js";
import { type RenderEnvironment, renderEnvironment } from "../platform/instance.js";
import { shared } from "../platform/process-registry.js";
import { keepSecret } from "../secrets.js";
import { handleInternals, type SafePolling } from "../session/handle.js";
import {
  type RenderFinding,
  type RenderMonitorEvents,
  type RenderRepair,
  renderRepairs,
} from "./findings.js";
import { Monitor } from "./monitor.js";
import type { RepairRecord } from "./repairs.js";

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

/**
 * Watches a bot that runs on Render: at its start, and when it meets a conflict, asks Render's API why more than
 * one instance polls, and repairs what `repair` names. Outside Render, or without an API key, it says so once and
 * does nothing. Nothing happens before the next tick, so that listeners can be attached.
 *
 * @throws SafePollingError ERR_INVALID_OPTION for a bad option, or for a handle that is none.
 */
export function startRenderMonitor(polling: SafePolling, options: RenderMonitorOptions = {}): RenderMonitor {
  const internals = handleInternals.get(polling);
  if (!internals) {
    throw new SafePollingError(
      "ERR_INVALID_OPTION",
      "Expected `polling` to be the handle that safeStartPolling() returned.",
    );
  }
  const environment = renderEnvironment();
  const { apiKey, serviceId, ...resolved } = resolveMonitorOptions(options, environment, internals.logger);
  if (serviceId === undefined) {
    resolved.logger.info({}, "this is not Render (RENDER_SERVICE_ID is not set): the monitor does nothing");
    return idleMonitor;
  }
  if (apiKey === undefined) {
    resolved.logger.warn({}, "RENDER_API_KEY is not set: the Render monitor does nothing");
    return idleMonitor;
  }
  const monitor = new Monitor({
    ...resolved,
    polling,
    internals,
    serviceId,
    runsIn: environment.serviceId,
    apiKey,
    isPreview: environment.isPreview,
    repairRecord: shared("render-repairs", (): RepairRecord => ({ lastRepairAt: undefined })),
    clock: systemClock,
    random: Math.random,
  });
  return {
    get findings() {
      return monitor.board.findings;
    },
    on(event, listener) {
      monitor.hub.on(event, listener);
      return () => monitor.hub.off(event, listener);
    },
    stop: () => monitor.stop(),
    [Symbol.asyncDispose]: () => monitor.stop(),
  };
}

const idleMonitor: RenderMonitor = {
  findings: [],
  on: () => () => {},
  stop: async () => {},
  [Symbol.asyncDispose]: async () => {},
};

/** Options of `startRenderMonitor`. All are optional on Render. */
export interface RenderMonitorOptions {
  /**
   * A key of Render's API (`rnd_…`). It can do everything that its owner can: see docs/render.md.
   * @defaultValue the environment variable RENDER_API_KEY
   */
  readonly apiKey?: string;
  /**
   * The service that this process belongs to, `srv-…`.
   * @defaultValue the environment variable RENDER_SERVICE_ID, which Render sets
   */
  readonly serviceId?: string;
  /**
   * What the monitor may repair, in the order of preference: `"scale"` this service to one instance, `"suspend-duplicate"`:
   * the service with the same bot that was created last, `"delete-webhook"`.
   * @defaultValue `[]`: nothing
   */
  readonly repair?: readonly RenderRepair[];
  /**
   * Where Render's API is, for tests.
   * @defaultValue `"https://api.render.com/v1"`
   */
  readonly apiRoot?: string;
  /**
   * Pino-shaped; `false` for silence.
   * @defaultValue the handle's logger
   */
  readonly logger?: Logger | false;
}

/** `RenderMonitorOptions` with every default in place; undefined: what could not be found out. */
interface ResolvedMonitorOptions {
  readonly apiKey: string | undefined;
  readonly serviceId: string | undefined;
  readonly repair: readonly RenderRepair[];
  readonly apiRoot: string;
  readonly logger: Logger;
}

const optionNames = [
  "apiKey",
  "serviceId",
  "repair",
  "apiRoot",
  "logger",
] as const satisfies readonly (keyof RenderMonitorOptions)[];

/** Checks the options and fills in the defaults. Throws ERR_INVALID_OPTION. */
function resolveMonitorOptions(
  options: RenderMonitorOptions,
  environment: RenderEnvironment,
  handleLogger: Logger,
): ResolvedMonitorOptions {
  checkOptions("options", options, optionNames);
  return {
    apiKey:
      "apiKey" in options ? checkKey(options.apiKey) : environment.apiKey && checkKey(environment.apiKey),
    serviceId: "serviceId" in options ? checkServiceId(options.serviceId) : environment.serviceId,
    repair: checkRepair(options.repair ?? []),
    apiRoot: checkApiRoot(options.apiRoot ?? "https://api.render.com/v1"),
    logger: options.logger === undefined ? handleLogger : chooseLogger(options.logger),
  };
}

/** The value itself is never shown. */
function checkKey(apiKey: unknown): string {
  const key = typeof apiKey === "string" ? apiKey.trim() : "";
  if (/^[\x21-\x7e]+$/.test(key)) {
    keepSecret(key);
    return key;
  }
  throw new SafePollingError(
    "ERR_INVALID_OPTION",
    key === ""
      ? "`apiKey` is undefined or empty. Is RENDER_API_KEY set? Leave the option out to make that variable optional."
      : "`apiKey` has characters that no key has. Copy it again from Render's Account Settings.",
  );
}

function checkServiceId(serviceId: unknown): string {
  if (typeof serviceId === "string" && /^srv-[a-z0-9]+$/.test(serviceId)) return serviceId;
  throw invalidOption(
    "serviceId",
    "the id of a Render service, srv-…",
    serviceId,
    "Is RENDER_SERVICE_ID set?",
  );
}

function checkRepair(repair: unknown): readonly RenderRepair[] {
  if (!Array.isArray(repair)) throw invalidOption("repair", "an array of names of repairs", repair);
  for (const name of repair) {
    if (renderRepairs.includes(name)) continue;
    if (typeof name !== "string") throw invalidOption("repair", "an array of names of repairs", name);
    throw new SafePollingError(
      "ERR_INVALID_OPTION",
      `\`repair\` has no \`${name}\`. ${suggestion(name, renderRepairs)}`,
    );
  }
  return [...new Set(repair)];
}

function checkApiRoot(apiRoot: unknown): string {
  if (
    typeof apiRoot === "string" &&
    /^https?:$/.test(URL.canParse(apiRoot) ? new URL(apiRoot).protocol : "")
  ) {
    return apiRoot.replace(/\/+$/, "");
  }
  throw invalidOption("apiRoot", "an http or https URL", apiRoot);
}
