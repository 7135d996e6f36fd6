export { type HealthHandler, type HealthOptions, healthHandler } from "../health/handler.js";
export type { Handles } from "../health/handles.js";
export {
  type MetricsOptions,
  type MetricsRegister,
  registerMetrics,
} from "../health/metrics.js";
export { type HealthServer, type HealthServerOptions, startHealthServer } from "../health/server.js";
export type { HealthReport } from "../session/report.js";
