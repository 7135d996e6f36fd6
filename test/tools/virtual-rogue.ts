import type { VirtualWorld } from "./virtual-world.js";

/** A poller that knows no lock: polls again `retryMs` after each 409, for ever, and confirms nothing. */
export function startRogue(world: VirtualWorld, name = "rogue", retryMs = 0): { stop(): void } {
  let isStopped = false;
  const poll = () => {
    if (isStopped) return;
    const args = new Map([["timeout", "30"]]);
    world.api.call({ token: world.account.token, method: "getUpdates", args, instance: name }, (answer) => {
      const isConflict = answer !== "reset" && answer.status === 409;
      world.clock.setTimer(poll, isConflict ? retryMs : 1);
    });
  };
  poll();
  return {
    stop: () => {
      isStopped = true;
    },
  };
}
