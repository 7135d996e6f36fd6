import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { inspect } from "node:util";
import { healthHandler } from "grammy-safe-polling/health";
import { postgresLock } from "grammy-safe-polling/postgres";
import { Registry } from "prom-client";
import { expect, it, vi } from "vitest";
import { channelNames } from "../tools/channels.js";
import { HealthBots, inState } from "../tools/health-bots.js";
import { startPostgres } from "../tools/postgres-server.js";

const channels = channelNames.map((name) => `grammy-safe-polling:${name}`);

it("no endpoint, metric or channel carries a token, a password or a connection string, whatever goes wrong", async () => {
  await using postgres = await startPostgres();
  await using bots = await HealthBots.start();
  const { token } = bots.api.bot;
  const connectionString = postgres.url();
  const { password } = new URL(connectionString);
  const wrongUrl = connectionString.replace(password, "wrong-Pa55word");
  let told = "";
  const record = (message: unknown, name: string | symbol) => {
    told += `${String(name)} ${inspect(message, { depth: 10, showHidden: true })}\n`;
  };
  for (const name of channels) subscribe(name, record);
  const polling = bots.handle({
    token,
    lock: postgresLock({ connectionString, leaseMs: 2_000 }),
    polling: { timeoutSeconds: 1 },
    backoff: { delaysMs: [50], onExhausted: "repeat" },
    configure: (bot) =>
      bot.on("message", () => {
        throw new Error(`the handler failed with ${token} at ${connectionString}`);
      }),
  });
  const health = healthHandler(polling, { register: new Registry() });
  const readEverything = async (handler = health) => {
    for (const path of ["livez", "readyz?verbose", "healthz?verbose", "leaderz", "metrics"]) {
      const response = await handler.fetch(new Request(`http://bot/${path}`));
      told += `${path} ${response.status} ${await response.text()}\n`;
    }
  };
  try {
    await polling.started();
    await readEverything();

    bots.api.pushMessage(bots.api.bot.id, "one");
    await vi.waitFor(() => expect(polling.health().updatesHandled).toBe(1), { timeout: 10_000 });
    bots.api.injectFault({ kind: "reset-before", method: "getUpdates", times: 2 });
    bots.api.injectFault({ kind: "not-found-html", method: "getUpdates" });
    await vi.waitFor(() => expect(told).toContain("silence"), { timeout: 10_000 });
    await readEverything();

    await vi.waitFor(
      async () => {
        await fetch(`${bots.api.url}/bot${token}/getUpdates?timeout=1`).catch(() => {});
        expect(polling.health().conflicts["other-poller"]).toBeGreaterThan(0);
      },
      { timeout: 15_000 },
    );
    await readEverything();

    await postgres.kill();
    await vi.waitFor(() => expect(polling.health().lock.degraded).toBeTypeOf("string"), { timeout: 15_000 });
    await readEverything();
    await postgres.start();

    const refused = bots.handle({
      token: bots.api.addBot().token,
      lock: postgresLock({ connectionString: wrongUrl }),
    });
    await inState(refused, "failed");
    await readEverything(healthHandler(refused));
  } finally {
    for (const name of channels) unsubscribe(name, record);
    await polling.stop();
  }

  // It did go wrong, and it was told.
  for (const part of [
    "the handler failed with <token>",
    "'silence'",
    "'other-poller'",
    "grammy-safe-polling:lost",
    '"degraded":"',
    "polling has failed",
  ]) {
    expect(told).toContain(part);
  }
  for (const secret of [token.split(":")[1], password, "wrong-Pa55word", connectionString]) {
    expect(told).not.toContain(secret);
  }
});
