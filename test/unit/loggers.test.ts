import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { consoleLogger, levels } from "../../src/logger.js";
import { logSetting } from "../../src/platform/choose-logger.js";
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
    const bot = `@${bots.api.bot.username}`;
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ level: 30, msg: "starting", key, instance: "web-1", lock: "file" }),
        expect.objectContaining({ level: 20, msg: "starting -> polling", key }),
        expect.objectContaining({ level: 30, msg: "this instance polls now", key, bot }),
        expect.objectContaining({ level: 30, msg: "stopping", key, bot }),
        expect.objectContaining({ level: 30, msg: "released the lease", token: expect.any(Number) }),
        expect.objectContaining({ level: 30, msg: "stopped", key, bot }),
      ]),
    );
    expect(text).not.toContain(bots.api.bot.token.split(":")[1]);
  });
});

describe("SAFE_POLLING_LOG", () => {
  function written(asked: string) {
    const lines: string[] = [];
    const keep = (line: string) => void lines.push(line);
    const logger = consoleLogger({ log: keep, warn: keep, error: keep }, logSetting(asked));
    for (const level of levels) logger[level]({ bot: "@my_bot", key: "1", token: 5 }, `told as ${level}`);
    return lines;
  }

  it.each([
    ["", 3],
    ["info", 3],
    ["DEBUG", 4],
    ["warn", 2],
    ["json", 3],
    ["json, debug", 4],
    ["verbose", 3],
  ])("%j tells %i of debug, info, warn and error", (asked, count) => {
    const lines = written(asked);
    expect(lines.length).toBe(count);
    expect(lines.at(-1)).toContain("told as error");
    expect(lines.join()).not.toContain("token");
  });

  it("json: an object a line with level, time, msg and the fields", () => {
    expect(written("json").map((line) => JSON.parse(line))[0]).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      msg: "told as info",
      bot: "@my_bot",
      key: "1",
    });
  });

  it("a word that is none is told once for all bots of the process, and ignored", async () => {
    const directory = mkdtempSync(join(tmpdir(), "gsp-log-"));
    const program = `
      import { chooseLogger } from ${JSON.stringify(new URL("../../src/platform/choose-logger.ts", import.meta.url).href)};
      for (let index = 0; index < 3; index += 1) chooseLogger(undefined).info({}, "told");`;
    const file = join(directory, "program.mts");
    writeFileSync(file, program);
    const tsx = fileURLToPath(new URL("../../node_modules/.bin/tsx", import.meta.url));
    const { stdout, stderr } = await promisify(execFile)(tsx, [file], {
      env: { ...process.env, SAFE_POLLING_LOG: "verbose" },
    });
    rmSync(directory, { recursive: true });

    expect(stdout.match(/told/g)).toHaveLength(3);
    expect(stderr.match(/SAFE_POLLING_LOG has a word that is none/g)).toHaveLength(1);
    expect(stderr).toContain("value=verbose");
  });
});

describe("the console", () => {
  it("is the default: one plain line an event, with the bot before it and the fields behind it", async () => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const other = bots.handle();
    await other.started();
    const polling = bots.handle({ logger: undefined as never });
    await inState(polling, "standby");
    await other.stop();
    await polling.started();
    await polling.stop();

    const lines = log.mock.calls.map(([line]) => String(line));
    const { id, username } = bots.api.bot;
    expect(
      lines.map((line) =>
        line
          .replace(/\b(instance|holder|location)=[^,)]+/g, "$1=…")
          // The lock may answer before Telegram has told the name.
          .replace(`@${username}: stands by`, `bot ${id}: stands by`),
      ),
    ).toEqual([
      `[safe-polling] bot ${id}: starting (instance=…, lock=file, location=…)`,
      `[safe-polling] bot ${id}: stands by: another handle of this process polls, or another instance of the same name. After a hot reload, stop the old handle before the new one starts (holder=…)`,
      `[safe-polling] @${username}: this instance polls now (by=handover)`,
      `[safe-polling] @${username}: stopping`,
      `[safe-polling] @${username}: released the lease`,
      `[safe-polling] @${username}: stopped`,
    ]);
  });

  it("names one page for an error that ends polling: that of its code", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const polling = bots.handle({ logger: undefined as never, token: `${bots.api.bot.id}:mistyped` });
    await expect(polling.done).rejects.toMatchObject({ code: "ERR_UNAUTHORIZED" });

    const lines = error.mock.calls.map(([line]) => String(line));
    expect(lines).toEqual([
      expect.stringMatching(/: polling has ended, and .*errors\.md#err_unauthorized\)$/),
    ]);
  });

  it("shows where a handler threw as lines of their own, which others' words cannot pass off as ours", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const polling = bots.handle({
      logger: undefined as never,
      configure: (bot) =>
        bot.on("message", () => {
          throw new Error("no such row\n[safe-polling] @other: stopped\u001b[2J");
        }),
    });
    bots.api.pushMessage(bots.api.bot.id, "hello");
    await vi.waitFor(() => expect(error).toHaveBeenCalled());
    await polling.stop();

    const [line = "", ...frames] = String(error.mock.calls[0]?.[0]).split("\n");
    expect(line).toMatch(
      /: a handler threw and .* \(updateId=\d+, error=no such row\\u000a.*\\u001b\[2J\)\. See https:/,
    );
    expect(frames.length).toBeGreaterThan(1);
    for (const frame of frames) expect(frame).toMatch(/^ {4}at \S.*:\d+/);
  });
});
