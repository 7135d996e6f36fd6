import { Writable } from "node:stream";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HealthBots, inState } from "../tools/health-bots.js";

let bots: HealthBots;

beforeEach(async () => {
  bots = await HealthBots.start();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await bots[Symbol.asyncDispose]();
});

describe("pino", () => {
  it("fits as it is: a JSON line with the fields for each state change", async () => {
    let text = "";
    const stream = new Writable({
      write(chunk, _, done) {
        text += chunk;
        done();
      },
    });
    const polling = bots.handle({ logger: pino({ level: "debug" }, stream), instance: "web-1" });
    await polling.started();
    await polling.stop();

    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const key = String(bots.api.bot.id);
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ level: 30, msg: "starting", key, instance: "web-1", lock: "file" }),
        expect.objectContaining({ level: 30, msg: "starting -> polling", key }),
        expect.objectContaining({ level: 30, msg: "polling -> draining", key }),
        expect.objectContaining({ level: 30, msg: "released the lease", token: expect.any(Number) }),
        expect.objectContaining({ level: 30, msg: "draining -> stopped", key }),
      ]),
    );
    expect(text).not.toContain(bots.api.bot.token.split(":")[1]);
  });
});

describe("the console", () => {
  it("is the default: one plain line for each state change, with the fields behind it", async () => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const other = bots.handle();
    await other.started();
    const polling = bots.handle({ logger: undefined as never });
    await inState(polling, "standby");
    await other.stop();
    await polling.started();
    await polling.stop();

    const lines = log.mock.calls.map(([line]) => String(line));
    const key = bots.api.bot.id;
    expect(lines).toContain(`[safe-polling] starting -> standby (key=${key})`);
    expect(lines).toContain(`[safe-polling] standby -> polling (key=${key})`);
    expect(lines.find((line) => line.includes("holds the lease"))).toMatch(/\(key=\d+, by=handover\)$/);
    expect(lines.every((line) => /^\[safe-polling\] [^\n]+$/.test(line))).toBe(true);
  });
});
