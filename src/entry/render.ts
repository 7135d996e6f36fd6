export type { TokenUse } from "../render/duplicates.js";
export type {
  RenderFinding,
  RenderFindingSummary,
  RenderMonitor,
  RenderMonitorEvents,
  RenderRepair,
  RenderRepairEvent,
  RenderServiceReference,
} from "../render/findings.js";
export { type RenderMonitorOptions, startRenderMonitor } from "../render/start-render-monitor.js";
