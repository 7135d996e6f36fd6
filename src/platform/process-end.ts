import { constants } from "node:os";
import { shared } from "./process-registry.js";

/** The same or another signal this long after the first is a second one; platforms and shells double signals. */
const secondSignalMs = 1_000;
/** How long user code after `await polling.done` may keep the process alive before it is ended, in milliseconds. */
const leftoverMs = 1_000;

/** A running handle, as the rest of its process sees it. */
export interface RunningHandle {
  readonly signals: readonly NodeJS.Signals[];
  /** Resolves when the handle has stopped; never rejects. */
  stop(): Promise<void>;
}

const handles = shared("handles", () => new Set<RunningHandle>());
const signalListeners = shared("signal-listeners", () => new Map<NodeJS.Signals, NodeJS.SignalsListener>());

/**
 * Stops the handle on its signals. One listener per signal and process serves all handles: on a signal all stop,
 * every `done` resolves, the listener goes, and the process ends by itself. Returns what takes it out again.
 */
export function stopOnSignals(handle: RunningHandle): () => void {
  handles.add(handle);
  for (const signal of handle.signals) {
    if (signalListeners.has(signal)) continue;
    const listener = () => onSignal(signal);
    signalListeners.set(signal, listener);
    listenFirst(signal, listener);
  }
  return () => {
    handles.delete(handle);
    removeUnusedListeners();
  };
}

/** First in line: a `once` listener of the app is still counted when ours runs. */
function listenFirst(signal: NodeJS.Signals, listener: NodeJS.SignalsListener): void {
  if (!("Deno" in globalThis)) {
    process.prependListener(signal, listener);
    return;
  }
  // Deno calls signal listeners in the order in which they were added, prepended or not.
  const others = process.rawListeners(signal) as NodeJS.SignalsListener[];
  for (const other of others) process.removeListener(signal, other);
  for (const each of [listener, ...others]) process.on(signal, each);
}

let firstSignalAt: number | undefined;

function onSignal(signal: NodeJS.Signals): void {
  const now = performance.now();
  if (firstSignalAt !== undefined) {
    if (now - firstSignalAt > secondSignalMs) process.exit(128 + constants.signals[signal]);
    return;
  }
  firstSignalAt = now;
  const appListens = process.listenerCount(signal) > 1;
  void stopAllHandles().then(() => {
    firstSignalAt = undefined;
    if (!appListens) whenStillAlive(() => process.kill(process.pid, signal));
  });
}

/** Stops every handle of this process. Never rejects. */
async function stopAllHandles(): Promise<void> {
  while (handles.size > 0) await Promise.all([...handles].map((handle) => handle.stop()));
}

/** Ends the process with code 0, after every handle has stopped and the code that waited for them has run. */
export async function exitGracefully(): Promise<void> {
  await stopAllHandles();
  whenStillAlive(() => process.exit(0));
}

/**
 * The timers are unref'd: a process that has nothing left to do ends by itself, with code 0, before they fire. The
 * second one is for a process that stood still for so long: due timers run before the loop looks what keeps it.
 */
function whenStillAlive(end: () => void): void {
  setTimeout(() => setTimeout(end, 1).unref(), leftoverMs).unref();
}

function removeUnusedListeners(): void {
  for (const [signal, listener] of signalListeners) {
    if ([...handles].some((handle) => handle.signals.includes(signal))) continue;
    process.removeListener(signal, listener);
    signalListeners.delete(signal);
  }
}
