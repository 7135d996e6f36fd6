import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { Bot } from "grammy";
import { describe, expect, it, vi } from "vitest";
import { channelName } from "../../../src/diagnostics.js";
import { resolveOptions } from "../../../src/options.js";
import { asTelegramBot } from "../../../src/polling/telegram-bot.js";
import { UpdateLedger } from "../../../src/polling/update-ledger.js";
import { rehearse } from "../../../src/session/rehearsal.js";
import { channelNames } from "../../tools/channels.js";

const bot = asTelegramBot(new Bot("1:a"));

describe("the rehearsal", () => {
  it("runs what a handover runs: a poll, an update, the confirmation", async () => {
    const steps = (["fetched", "finish"] as const).map((step) => vi.spyOn(UpdateLedger.prototype, step));
    const confirmed = vi.spyOn(UpdateLedger.prototype, "confirmOffset", "get");

    await rehearse(resolveOptions(bot, { lock: false }));

    for (const step of [...steps, confirmed]) expect(step).toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  it("is seen by nobody", async () => {
    const told = vi.fn();
    const line = vi.fn();
    const logger = { debug: line, info: line, warn: line, error: line };
    for (const name of channelNames) subscribe(channelName(name), told);

    await rehearse(resolveOptions(bot, { lock: false, logger, beforePolling: told }));

    for (const name of channelNames) unsubscribe(channelName(name), told);
    expect(told).not.toHaveBeenCalled();
    expect(line).not.toHaveBeenCalled();
  });

  it("leaves no timer behind", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
    const before = timers();

    await rehearse(resolveOptions(bot, { lock: false }));

    expect(timers()).toBe(before);
  });
});
