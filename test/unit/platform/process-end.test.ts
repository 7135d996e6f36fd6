import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Logger } from "../../../src/logger.js";
import * as processEnd from "../../../src/platform/process-end.js";

const { exitGracefully, stopOnSignals } = processEnd;

/** A signal none of the test runner's own. */
const signal = "SIGUSR2";
const number = 12;

let logs: string[];
let now: number;
let exit: ReturnType<typeof vi.spyOn>;
let kill: ReturnType<typeof vi.spyOn>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  logs = [];
  now = performance.now();
  exit = vi.spyOn(process, "exit").mockImplementation((() => {}) as never);
  kill = vi.spyOn(process, "kill").mockImplementation(() => true);
});
afterEach(async () => {
  await vi.advanceTimersByTimeAsync(60_000);
  vi.restoreAllMocks();
  vi.useRealTimers();
  delete process.env.pm_id;
});

/** A handle whose stop takes `drainMs`. `copy`: of this library, as ESM and CommonJS are two. */
function start({ drainMs = 0, exitAfterMs = 10_000, copy = processEnd } = {}) {
  const log = (_fields: object, message: string) => void logs.push(message);
  const logger: Logger = { debug: log, info: log, warn: log, error: log };
  const state = { stops: 0, isStopped: false };
  const stop = async () => {
    state.stops += 1;
    await new Promise((resolve) => setTimeout(resolve, drainMs));
    state.isStopped = true;
    unregister();
  };
  const unregister = copy.stopOnSignals({ signals: [signal], exitAfterMs, logger, stop });
  return state;
}

const send = (name: NodeJS.Signals = signal) => process.emit(name);
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe("a signal", () => {
  it.each([1, 100, 900])("that comes again %i ms later does not end the clean-up behind done", async (ms) => {
    const handle = start();
    send();
    await pass(ms);
    expect(handle.isStopped).toBe(true);
    send();

    // Somebody heard it: its default action did not end the process, nor did we.
    expect(process.listenerCount(signal)).toBe(1);
    expect(exit).not.toHaveBeenCalled();
    await pass(1_000);
    expect(process.listenerCount(signal)).toBe(0);
  });

  it("that a framework raises again in the middle of the drain is no order to die; one after that is", async () => {
    const handle = start({ drainMs: 5_000 });
    send();
    await pass(1_500);
    send();
    await pass(1_500);

    expect(exit).not.toHaveBeenCalled();
    expect(handle).toEqual({ stops: 1, isStopped: false });
    expect(logs).toEqual(["already stopping; the next signal ends the process at once"]);
    send();
    expect(exit).toHaveBeenCalledWith(128 + number);
  });

  it.each([10, 900])("that a framework raises again %i ms after a long drain ends nothing", async (ms) => {
    const handle = start({ drainMs: 3_000 });
    send();
    await pass(3_000 + ms);
    expect(handle.isStopped).toBe(true);
    send();

    expect(process.listenerCount(signal)).toBe(1);
    expect(exit).not.toHaveBeenCalled();
    await pass(1_000);
    expect(process.listenerCount(signal)).toBe(0);
  });

  it("that comes again is heard where the last bot to stop is another copy's", async () => {
    const path = "../../../src/platform/process-end.js?copy";
    const copy: typeof processEnd = await import(path);
    expect(copy).not.toBe(processEnd);
    const one = start();
    const other = start({ copy, drainMs: 100 });
    send();
    await pass(200);
    expect([one.isStopped, other.isStopped]).toEqual([true, true]);

    expect(process.listenerCount(signal)).toBe(1);
    await pass(1_000);
    expect(process.listenerCount(signal)).toBe(0);
  });

  it("of another kind, more than a second later, ends the process at once", async () => {
    start({ drainMs: 5_000 });
    const other = stopOnSignals({
      signals: ["SIGUSR1"],
      exitAfterMs: 0,
      logger: console as never,
      stop: async () => {},
    });
    send();
    await pass(1_500);
    send("SIGUSR1");
    other();

    expect(exit).toHaveBeenCalledWith(128 + 10);
  });

  it("is raised again exitAfterMs after everything has stopped, told in the log", async () => {
    start({ exitAfterMs: 3_000 });
    send();
    await pass(2_900);
    expect(kill).not.toHaveBeenCalled();
    await pass(200);

    expect(kill).toHaveBeenCalledWith(process.pid, signal);
    expect(logs).toEqual([
      expect.stringContaining(`something keeps the process alive: raising ${signal} again`),
    ]);
    // A library that listens, or PID 1: it is still here.
    await pass(1_100);
    expect(exit).toHaveBeenCalledWith(128 + number);
  });

  it("is what pm2's message stands for, where pm2 runs the process", async () => {
    process.env.pm_id = "0";
    const handle = start();
    process.emit("message", "something else", undefined);
    await pass(10);
    expect(handle.stops).toBe(0);
    process.emit("message", "shutdown", undefined);
    await pass(2_000);

    expect(handle.isStopped).toBe(true);
    expect(process.listenerCount("message")).toBe(messageListeners);
  });
});

const messageListeners = process.listenerCount("message");

it("an exit by exhaustion gives the code behind done its time too", async () => {
  const logger = { warn: (_: object, message: string) => void logs.push(message) } as Logger;
  void exitGracefully({ exitAfterMs: 3_000, logger });
  await pass(2_900);
  expect(exit).not.toHaveBeenCalled();
  await pass(200);

  expect(exit).toHaveBeenCalledWith(0);
  expect(performance.now() - now).toBeGreaterThan(3_000);
});
