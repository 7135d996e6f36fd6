import { systemClock } from "../clock.js";
import type { Logger } from "../logger.js";
import { checkOptions, invalidOption, optionError, suggestion } from "../option-checks.js";
import { chooseLogger } from "../platform/choose-logger.js";
import { renderEnvironment } from "../platform/instance.js";
import { shared } from "../platform/process-registry.js";
import { keepSecret } from "../redact.js";
import { handleInternals, type SafePolling } from "../session/handle.js";
import { type RenderMonitor, type RenderRepair, renderRepairs } from "./findings.js";
import { startMonitor } from "./monitor.js";
import type { RepairRecord } from "./repairs.js";

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
    throw optionError("Expected `polling` to be the handle that safeStartPolling() returned.");
  }
  checkOptions("options", options, ["apiKey", "serviceId", "repair", "apiRoot", "logger"]);
  const environment = renderEnvironment();
  const apiKey =
    "apiKey" in options ? checkKey(options.apiKey) : environment.apiKey && checkKey(environment.apiKey);
  const serviceId = "serviceId" in options ? checkServiceId(options.serviceId) : environment.serviceId;
  const repair = checkRepair(options.repair ?? []);
  const apiRoot = checkApiRoot(options.apiRoot ?? "https://api.render.com/v1");
  const logger = options.logger === undefined ? internals.logger : chooseLogger(options.logger);
  if (serviceId === undefined) {
    logger.info({}, "this is not Render (RENDER_SERVICE_ID is not set): the monitor does nothing");
    return idleMonitor;
  }
  if (apiKey === undefined) {
    logger.warn({}, "RENDER_API_KEY is not set: the Render monitor does nothing");
    return idleMonitor;
  }
  return startMonitor({
    polling,
    internals,
    serviceId,
    runsIn: environment.serviceId,
    apiKey,
    apiRoot,
    isPreview: environment.isPreview,
    repair,
    repairRecord: shared("render-repairs", (): RepairRecord => ({ lastRepairAt: undefined })),
    logger,
    clock: systemClock,
    random: Math.random,
  });
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

/** The value itself is never shown. */
function checkKey(apiKey: unknown): string {
  const key = typeof apiKey === "string" ? apiKey.trim() : "";
  if (/^[\x21-\x7e]+$/.test(key)) {
    keepSecret(key);
    return key;
  }
  throw optionError(
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
  const names: readonly unknown[] = Array.isArray(repair) ? repair : [repair];
  const odd = names.find((name) => typeof name !== "string");
  if (!Array.isArray(repair) || odd !== undefined) {
    throw invalidOption("repair", "an array of names of repairs", odd ?? repair);
  }
  const unknown = repair.find((name) => !renderRepairs.includes(name));
  if (unknown === undefined) return [...new Set(repair)];
  const hint = suggestion(unknown, renderRepairs);
  throw optionError(`\`repair\` has no \`${unknown}\`. ${hint}`);
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
