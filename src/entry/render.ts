export type { TokenUse } from "../render/duplicates.js";
export type {
  RenderFinding,
  RenderFindingSummary,
  RenderMonitorEvents,
  RenderRepair,
  RenderRepairEvent,
  RenderServiceReference,
} from "../render/findings.js";
export {
  type RenderMonitor,
  type RenderMonitorOptions,
  startRenderMonitor,
} from "../render/start-render-monitor.js";
