import type { Moment } from "../clock.js";
import type { LockBackend } from "../lock/backend.js";
import type { LockSession } from "../lock/lock-session.js";
import type { HandleInternals } from "../session/handle-internals.js";

/** A running handle, as the rest of its process sees it. */
export interface RunningHandle {
  readonly signals: readonly NodeJS.Signals[];
  /** Resolves when the handle has stopped; never rejects. */
  stop(): Promise<void>;
}

/** What all handles of a process share. */
export interface ProcessRegistry {
  readonly handles: Set<RunningHandle>;
  /** Bots that are being polled. */
  readonly bots: WeakSet<object>;
  readonly lockSessions: WeakMap<LockBackend, LockSession>;
  readonly signalListeners: Map<NodeJS.Signals, NodeJS.SignalsListener>;
  /** By the handle that `safeStartPolling` returned. */
  readonly internals: WeakMap<object, HandleInternals>;
  /** The lock of every handle that names none. */
  defaultLock: LockBackend | undefined;
  /** When any monitor of this process last began a repair. */
  lastRepairAt: Moment | undefined;
  /** The first handover's code was run once already. */
  hasRehearsed: boolean;
}

const registryName = Symbol.for("grammy-safe-polling");

/** On `globalThis`, so that the ESM and the CommonJS build of this library share it. */
export function processRegistry(): ProcessRegistry {
  const holder = globalThis as { [registryName]?: ProcessRegistry };
  holder[registryName] ??= {
    handles: new Set(),
    bots: new WeakSet(),
    lockSessions: new WeakMap(),
    signalListeners: new Map(),
    internals: new WeakMap(),
    defaultLock: undefined,
    lastRepairAt: undefined,
    hasRehearsed: false,
  };
  return holder[registryName];
}

/** Stops every handle of this process. Never rejects. */
export async function stopAllHandles(): Promise<void> {
  const { handles } = processRegistry();
  while (handles.size > 0) await Promise.all([...handles].map((handle) => handle.stop()));
}
