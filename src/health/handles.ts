import { invalidOption } from "../option-checks.js";
import type { SafePolling } from "../session/handle.js";

/** One handle of `safeStartPolling`, or several of one process. */
export type Handles = SafePolling | readonly SafePolling[];

/** Throws ERR_INVALID_OPTION unless it is what `safeStartPolling` returned, or a list of it. */
export function checkHandles(polling: Handles): void {
  const handles = listOf(polling);
  const isHandle = (handle: unknown) => typeof (handle as { health?: unknown })?.health === "function";
  if (handles.length > 0 && handles.every(isHandle)) return;
  throw invalidOption("polling", "what safeStartPolling() returned, or a non-empty array of it", polling);
}

export function listOf(polling: Handles): readonly SafePolling[] {
  return isList(polling) ? polling : [polling];
}

export function isList(polling: Handles): polling is readonly SafePolling[] {
  return Array.isArray(polling);
}
