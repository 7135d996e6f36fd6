import { systemClock } from "../clock.js";
import { SafePollingError } from "../errors.js";
import { renderEnvironment } from "../platform/instance.js";
import { shared } from "../platform/process-registry.js";
import { handleInternals, type SafePolling } from "../session/handle.js";
import type { RenderFinding, RenderMonitorEvents } from "./findings.js";
import { Monitor } from "./monitor.js";
import { type RenderMonitorOptions, resolveMonitorOptions } from "./options.js";
import type { RepairRecord } from "./repairer.js";

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
