export { type HealthHandler, type HealthOptions, healthHandler } from "./handler.js";
export type { Handles } from "./handles.js";
export {
  type MetricsOptions,
  type MetricsRegister,
  registerMetrics,
} from "./metrics.js";
export type { HealthReport } from "./report.js";
export { type HealthServer, type HealthServerOptions, startHealthServer } from "./server.js";
