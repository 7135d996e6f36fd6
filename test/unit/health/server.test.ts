import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { startHealthServer } from "grammy-safe-polling/health";
import { Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HealthBots, inState } from "../../tools/health-bots.js";

let bots: HealthBots;

beforeEach(async () => {
  bots = await HealthBots.start();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await bots[Symbol.asyncDispose]();
});

const get = (port: number, path: string) => fetch(`http://127.0.0.1:${port}${path}`);
const isRefused = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(false);
    });
    socket.on("error", () => resolve(true));
  });

describe("startHealthServer", () => {
  it("listens on the port that the platform has assigned", async () => {
    const spare = createServer().listen(0);
    const { port } = spare.address() as AddressInfo;
    await new Promise((resolve) => spare.close(resolve));
    vi.stubEnv("PORT", String(port));

    const polling = bots.handle();
    await using server = await startHealthServer(polling);
    await polling.started();

    expect(server.port).toBe(port);
    expect((await get(port, "/healthz")).status).toBe(200);
  });

  it("says that PORT is not set", async () => {
    vi.stubEnv("PORT", undefined);

    await expect(startHealthServer(bots.handle())).rejects.toMatchObject({
      code: "ERR_INVALID_OPTION",
      message: expect.stringContaining("Is PORT set?"),
    });
    for (const port of ["http", "", " ", "0x1F90", "8080.5", "-1", "65536", "1e3"]) {
      await expect(startHealthServer(bots.handle(), { port })).rejects.toMatchObject({
        code: "ERR_INVALID_OPTION",
      });
    }
  });

  it("rejects when the port is taken, and leaves nothing in the register", async () => {
    const register = new Registry();
    await using first = await startHealthServer(bots.handle(), { port: 0, host: "127.0.0.1" });

    const second = startHealthServer(bots.handle(), { port: first.port, host: "127.0.0.1", register });

    await expect(second).rejects.toMatchObject({
      code: "ERR_INVALID_OPTION",
      message: expect.stringContaining(`port ${first.port} of 127.0.0.1 (EADDRINUSE). Another server has it`),
    });
    expect(register.getMetricsAsArray()).toEqual([]);
  });

  it("says which address it does not have", async () => {
    const elsewhere = startHealthServer(bots.handle(), { port: 0, host: "203.0.113.1" });

    await expect(elsewhere).rejects.toMatchObject({
      code: "ERR_INVALID_OPTION",
      message: expect.stringContaining("leave `host` out"),
    });
  });

  it("answers probes beside hundreds of clients that never finish their request", async () => {
    await using server = await startHealthServer(bots.handle(), { port: 0, host: "127.0.0.1" });
    const clients = Array.from({ length: 300 }, () => connect(server.port, "127.0.0.1"));
    let ended = 0;
    await Promise.all(
      clients.map((client) => {
        client.on("error", () => {}).on("close", () => (ended += 1));
        return new Promise((resolve) => client.write("GET /livez HTTP/1.1\r\n", resolve));
      }),
    );

    expect((await get(server.port, "/livez")).status).toBe(200);

    await vi.waitFor(() => expect(ended).toBeGreaterThanOrEqual(300 - 64));
    for (const client of clients) client.destroy();
  });

  it("answers 503 on /readyz, and 200 on /livez, while the bot stops, and is gone when it has stopped", async () => {
    let finish = () => {};
    const polling = bots.handle({
      drainTimeoutMs: 10_000,
      configure: (bot) => bot.on("message", () => new Promise<void>((resolve) => (finish = resolve))),
    });
    await using server = await startHealthServer(polling, { port: 0, host: "127.0.0.1" });
    await polling.started();
    bots.api.pushMessage(bots.api.bot.id, "one");
    await vi.waitFor(() => expect(polling.health().handlersRunning).toBe(1));

    const stopped = polling.stop();
    await inState(polling, "draining");
    expect((await get(server.port, "/readyz")).status).toBe(503);
    expect((await get(server.port, "/healthz")).status).toBe(503);
    expect((await get(server.port, "/livez")).status).toBe(200);
    finish();
    await stopped;

    await vi.waitFor(async () => expect(await isRefused(server.port)).toBe(true));
  });

  it("that is started for a bot which has ended already says on which port it was, and is gone", async () => {
    const polling = bots.handle();
    await polling.stop();

    const server = await startHealthServer(polling, { port: 0, host: "127.0.0.1" });

    expect(server.port).toBeGreaterThan(0);
    await vi.waitFor(async () => expect(await isRefused(server.port)).toBe(true));
  });

  it("stays while one of several bots goes on", async () => {
    const [first, second] = [bots.handle(), bots.handle({ token: bots.api.addBot().token })];
    await using server = await startHealthServer([first, second], { port: 0, host: "127.0.0.1" });

    await Promise.all([first.started(), second.started()]);
    await first.stop();

    const response = await get(server.port, "/readyz?verbose");
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      ok: true,
      bots: [{ state: "stopped", problem: "it is stopping" }, { state: "polling" }],
    });
    await second.stop();
    await vi.waitFor(async () => expect(await isRefused(server.port)).toBe(true));
  });

  it("closes although a client is in the middle of a request", async () => {
    const polling = bots.handle();
    const server = await startHealthServer(polling, { port: 0, host: "127.0.0.1" });
    const client = connect(server.port, "127.0.0.1");
    await new Promise((resolve) => client.write("GET /livez HTTP/1.1\r\n", resolve));
    const ended = new Promise((resolve) => client.once("close", resolve));
    client.on("error", () => {});

    await Promise.all([server.close(), server.close()]);

    await ended;
  });

  it("does not hide a failure that the application does not look at", async () => {
    const polling = bots.handle();
    const observe = vi.spyOn(polling, "done", "get");
    await using server = await startHealthServer(polling, { port: 0, host: "127.0.0.1" });
    await get(server.port, "/livez");

    expect(observe).not.toHaveBeenCalled();
  });
});
