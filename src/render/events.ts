import type { RenderFinding, RenderServiceReference } from "./findings.js";
import type { RenderRepair } from "./repair-rules.js";

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
