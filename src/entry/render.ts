export type { TokenUse } from "../render/duplicates.js";
export type {
  RenderFinding,
  RenderFindingSummary,
  RenderMonitorEvents,
  RenderRepairEvent,
  RenderServiceReference,
} from "../render/findings.js";
export type { RenderRepair } from "../render/repairs.js";
export type { RenderMonitorOptions } from "../render/start-render-monitor.js";
export { type RenderMonitor, startRenderMonitor } from "../render/start-render-monitor.js";
