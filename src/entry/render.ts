export type { TokenUse } from "../render/environment.js";
export type {
  RenderFinding,
  RenderFindingSummary,
  RenderMonitorEvents,
  RenderRepairEvent,
  RenderServiceReference,
} from "../render/findings.js";
export type { RenderMonitorOptions } from "../render/options.js";
export type { RenderRepair } from "../render/repair-rules.js";
export { type RenderMonitor, startRenderMonitor } from "../render/start-render-monitor.js";
