import { constants } from "node:os";
import { isMainThread } from "node:worker_threads";
import type { Logger } from "../logger.js";
import { page } from "../pages.js";
import { shared } from "./process-registry.js";

/** Platforms and shells send a signal twice: what comes this soon after the first, in milliseconds, is its double. */
const doubleMs = 1_000;
/** A signal that is raised to end the process may be swallowed: by a library that listens, by the kernel for PID 1. */
const swallowedMs = 1_000;

/** A running handle, as the rest of its process sees it. */
export interface RunningHandle {
  readonly signals: readonly NodeJS.Signals[];
  /** How long what comes after `done` may keep the process alive, in milliseconds. */
  readonly exitAfterMs: number;
  readonly logger: Logger;
  /** Resolves when the handle has stopped; never rejects. */
  stop(): Promise<void>;
}

/** From the first signal until every handle has stopped, and what is raised at that moment has come too. */
interface Shutdown {
  readonly signal: NodeJS.Signals;
  heardAt: number;
  wasRaisedAgain: boolean;
}

const handles = shared("running-handles", () => new Set<RunningHandle>());
const signalListeners = shared("stop-signals", () => new Map<NodeJS.Signals, NodeJS.SignalsListener>());
/** One for all copies: none may take away the listener by which another has begun to stop. */
const ending = shared("shutdown", (): { shutdown?: Shutdown | undefined } => ({}));

/**
 * Stops the handle on its signals. One listener per signal and process serves all handles: on a signal all stop,
 * every `done` resolves, the listener goes, and the process ends by itself. Returns what takes it out again.
 */
export function stopOnSignals(handle: RunningHandle): () => void {
  handles.add(handle);
  if (handle.signals.length > 0 && !isMainThread) warnOfWorkerThread(handle.logger);
  for (const signal of handle.signals) {
    if (signalListeners.has(signal)) continue;
    const listener = () => onSignal(signal);
    signalListeners.set(signal, listener);
    listenFirst(signal, listener);
  }
  listenToPm2();
  return () => {
    handles.delete(handle);
    if (!ending.shutdown) removeUnusedListeners();
  };
}

/** First in line: a framework that raises the signal again does that when we know of the first. */
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

/** Whether this system has a signal of that name. */
export function isSignal(name: unknown): name is NodeJS.Signals {
  return typeof name === "string" && Object.hasOwn(constants.signals, name);
}

function onSignal(signal: NodeJS.Signals): void {
  const now = performance.now();
  const { shutdown } = ending;
  if (!shutdown) return void beginShutdown(signal, now);
  if (now - shutdown.heardAt <= doubleMs) return;
  // NestJS and others raise the signal when their own hooks have run: no order to cut handlers off. Once is enough.
  if (signal === shutdown.signal && !shutdown.wasRaisedAgain) {
    shutdown.heardAt = now;
    shutdown.wasRaisedAgain = true;
    const [handle] = handles;
    handle?.logger.warn(
      { signal, see: page("options.md#signals") },
      "already stopping; the next signal ends the process at once",
    );
    return;
  }
  process.exit(128 + constants.signals[signal]);
}

async function beginShutdown(signal: NodeJS.Signals, now: number): Promise<void> {
  ending.shutdown = { signal, heardAt: now, wasRaisedAgain: false };
  const last = await stopAllHandles();
  setTimeout(endShutdown, doubleMs).unref();
  whenStillAlive(last, `raising ${signal} again`, () => {
    endShutdown();
    process.kill(process.pid, signal);
    setTimeout(() => process.exit(128 + constants.signals[signal]), swallowedMs).unref();
  });
}

function endShutdown(): void {
  ending.shutdown = undefined;
  removeUnusedListeners();
}

interface AfterStop {
  readonly exitAfterMs: number;
  readonly logger: Logger | undefined;
}

/** Stops every handle of this process. Never rejects. */
async function stopAllHandles(): Promise<AfterStop> {
  let exitAfterMs = 0;
  let logger: Logger | undefined;
  // Twice: what was started meanwhile ends too. A loop that starts a bot again each time would never end.
  for (let round = 0; round < 2 && handles.size > 0; round += 1) {
    const running = [...handles];
    for (const handle of running) exitAfterMs = Math.max(exitAfterMs, handle.exitAfterMs);
    logger = running[0]?.logger;
    await Promise.all(running.map((handle) => handle.stop()));
  }
  return { exitAfterMs, logger };
}

/** Ends the process with code 0, after every handle has stopped and the code that waited for them has run. */
export async function exitGracefully({ exitAfterMs, logger }: Required<AfterStop>): Promise<void> {
  await stopAllHandles();
  whenStillAlive({ exitAfterMs, logger }, "ending it with exit code 0", () => process.exit(0));
}

/**
 * The timers are unref'd: a process that has nothing left to do ends by itself, with code 0, before they fire. The
 * second one is for a process that stood still for so long: due timers run before the loop looks what keeps it.
 */
function whenStillAlive({ exitAfterMs, logger }: AfterStop, how: string, end: () => void): void {
  const tellAndEnd = () => {
    logger?.warn(
      { exitAfterMs, open: process.getActiveResourcesInfo?.(), see: page("options.md#exitafterms") },
      `everything has stopped, but something keeps the process alive: ${how}. Close it after \`await polling.done\`, or set exitAfterMs`,
    );
    // Handlers of a bot that was started again are not cut off.
    void stopAllHandles().then(end);
  };
  setTimeout(() => setTimeout(tellAndEnd, 1).unref(), exitAfterMs).unref();
}

function removeUnusedListeners(): void {
  for (const [signal, listener] of signalListeners) {
    if ([...handles].some((handle) => handle.signals.includes(signal))) continue;
    process.removeListener(signal, listener);
    signalListeners.delete(signal);
  }
  if (signalListeners.size === 0) process.removeListener("message", onMessage);
}

/** pm2 sends a message where it cannot send a signal: on Windows, and with `shutdown_with_message`. */
function listenToPm2(): void {
  const isListening = process.listeners("message").includes(onMessage);
  if (process.env.pm_id === undefined || signalListeners.size === 0 || isListening) return;
  const others = process.listenerCount("message");
  process.on("message", onMessage);
  // Our listener must not keep the process alive.
  if (others === 0) process.channel?.unref();
}

function onMessage(message: unknown): void {
  if (message === "shutdown") onSignal("SIGINT");
}

function warnOfWorkerThread(logger: Logger): void {
  logger.warn(
    { see: page("options.md#signals") },
    "no signal reaches a worker thread: SIGTERM will end the process without a drain. Call stop() there when the main thread gets the signal, and set signals: false",
  );
}
