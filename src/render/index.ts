export type { RenderMonitorEvents, RenderRepairEvent } from "./events.js";
export type { RenderFinding, RenderFindingSummary, RenderServiceReference } from "./findings.js";
export type { RenderMonitorOptions } from "./options.js";
export type { RenderRepair } from "./repair-rules.js";
export { type RenderMonitor, startRenderMonitor } from "./start-render-monitor.js";
export type { TokenUse } from "./token-use.js";
