import { setMaxListeners } from "node:events";

/** A controller for what many may listen to at once: Node takes more than ten listeners for a leak, and warns. */
export function wideSignal(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
