import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import type { SafePolling } from "grammy-safe-polling";
import { healthHandler } from "grammy-safe-polling/health";
import { Hono } from "hono";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { HealthBots, inState } from "../../tools/health-bots.js";

let bots: HealthBots;
let holder: SafePolling;
let standby: SafePolling;

beforeAll(async () => {
  vi.stubEnv("GIT_REV", "4f2a9c1");
  bots = await HealthBots.start();
  holder = bots.handle({ instance: "old" });
  await holder.started();
  standby = bots.handle({ instance: "new" });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await bots[Symbol.asyncDispose]();
});

interface App extends AsyncDisposable {
  readonly url: string;
}

function app(server: Server): App {
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const listening = (server: Server) =>
  new Promise<Server>((resolve) => server.once("listening", () => resolve(server)));

/** How each framework is wired up, as docs/observability.md tells. Each has one route of its own. */
const frameworks: Record<string, (polling: SafePolling) => Promise<App>> = {
  async "node:http"(polling) {
    const health = healthHandler(polling);
    const server = createServer((request, response) =>
      health(request, response, () => response.end("the app's own")),
    );
    return app(await listening(server.listen(0, "127.0.0.1")));
  },
  async Express(polling) {
    const application = express();
    application.use(healthHandler(polling));
    application.get("/own", (_, response) => void response.send("the app's own"));
    return app(await listening(application.listen(0, "127.0.0.1")));
  },
  async Fastify(polling) {
    const application = fastify();
    const health = healthHandler(polling);
    for (const url of ["/livez", "/readyz", "/healthz", "/leaderz"]) {
      application.get(url, (request, reply) => {
        reply.hijack();
        health(request.raw, reply.raw);
      });
    }
    application.get("/own", async () => "the app's own");
    await application.listen({ port: 0, host: "127.0.0.1" });
    return app(application.server);
  },
  async Hono(polling) {
    const application = new Hono();
    application.get("/own", (c) => c.text("the app's own"));
    application.mount("/", healthHandler(polling).fetch);
    const server = serve({ fetch: application.fetch, port: 0, hostname: "127.0.0.1" }) as Server;
    return app(await listening(server));
  },
};

for (const [name, start] of Object.entries(frameworks)) {
  describe(`healthHandler with ${name}`, () => {
    it("answers every probe of a holder, and leaves the app's own paths alone", async () => {
      await using web = await start(holder);

      for (const path of ["/livez", "/readyz", "/healthz", "/leaderz"]) {
        const terse = await fetch(web.url + path);
        expect([path, terse.status, await terse.text()]).toEqual([path, 200, "ok\n"]);
        const verbose = await fetch(`${web.url}${path}?verbose`);
        expect(verbose.headers.get("content-type")).toMatch(/^application\/json/);
        expect(await verbose.json()).toMatchObject({ ok: true, state: "polling", instance: "old" });
      }
      expect(await (await fetch(`${web.url}/own`)).text()).toBe("the app's own");
    });

    it("is green in standby, except for /leaderz", async () => {
      await using web = await start(standby);
      await inState(standby, "standby");

      const statuses = await Promise.all(
        ["/livez", "/readyz", "/healthz", "/leaderz"].map(
          async (path) => (await fetch(web.url + path)).status,
        ),
      );

      expect(statuses).toEqual([200, 200, 200, 503]);
    });

    it("answers HEAD without a body", async () => {
      await using web = await start(standby);

      const response = await fetch(`${web.url}/leaderz`, { method: "HEAD" });

      expect(response.status).toBe(503);
      expect(await response.text()).toBe("");
    });
  });
}

describe("a middleware in front that answers first", () => {
  it("ends neither the process nor the answer: a time limit of the app has its way", async () => {
    const health = healthHandler(holder);
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", note);
    const server = createServer((request, response) => {
      health(request, response);
      response.writeHead(503).end("too late");
    });
    await using web = app(await listening(server.listen(0, "127.0.0.1")));

    const response = await fetch(`${web.url}/livez`);

    expect([response.status, await response.text()]).toEqual([503, "too late"]);
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });
});

describe("the body", () => {
  it("is one word or a reason for everybody, without hosts, revisions or ids", async () => {
    await inState(standby, "standby");
    const health = healthHandler([holder, standby]);
    const read = async (path: string) => (await health.fetch(new Request(`http://bot${path}`))).text();

    expect(await read("/readyz")).toBe("ok\n");
    expect(await read("/leaderz")).toBe("it does not poll (standby)\n");
  });

  it("tells state, since, holder, token, last poll, conflicts, lock and revision", async () => {
    await using web = await (frameworks["node:http"] as (polling: SafePolling) => Promise<App>)(standby);
    await inState(standby, "standby");

    const body = await (await fetch(`${web.url}/leaderz?verbose`)).json();

    expect(body).toMatchObject({
      ok: false,
      problem: "it does not poll (standby)",
      state: "standby",
      since: expect.stringMatching(/^\d{4}-.*Z$/),
      isStopping: false,
      instance: "new",
      revision: "4f2a9c1",
      key: String(bots.api.bot.id),
      lock: { name: "file", holder: { instance: "old", token: holder.lease?.token } },
      conflicts: { "other-poller": 0, "webhook-active": 0, "webhook-set": 0 },
      losses: { expired: 0, connection: 0, vanished: 0 },
      handovers: 0,
      updatesHandled: 0,
      updatesLetGo: 0,
    });
    const { lease, lastPollAt } = (await (
      await healthHandler(holder).fetch(new Request("http://bot/healthz?verbose"))
    ).json()) as { lease: object; lastPollAt: string };
    expect(lease).toMatchObject({ token: holder.lease?.token, key: String(bots.api.bot.id) });
    expect(Date.parse(lastPollAt)).toBeGreaterThan(Date.now() - 60_000);
  });

  it("has a list for several handles, and the worst status of them", async () => {
    await inState(standby, "standby");
    const health = healthHandler([holder, standby]);

    const ready = await health.fetch(new Request("http://bot/readyz"));
    const leads = await health.fetch(new Request("http://bot/leaderz?verbose"));

    expect([ready.status, leads.status]).toEqual([200, 503]);
    expect(await leads.json()).toMatchObject({
      ok: false,
      bots: [
        { instance: "old", state: "polling" },
        { problem: "it does not poll (standby)", instance: "new", state: "standby" },
      ],
    });
  });
});

describe("what is not served", () => {
  const ask = async (path: string, init: RequestInit = {}, options = {}) =>
    healthHandler(holder, options).fetch(new Request(`http://bot${path}`, init));

  it("is 404, /metrics without a register too", async () => {
    for (const path of ["/", "//", "/livezz", "/metrics", "/metrics/", "/livez/x"]) {
      expect([path, (await ask(path)).status]).toEqual([path, 404]);
    }
  });

  it("is not a path with a slash too many: people and proxies write them", async () => {
    for (const path of ["/livez/", "//livez", "//livez//?verbose"]) {
      expect([path, (await ask(path)).status]).toEqual([path, 200]);
    }
    expect((await ask("//bot//livez/", {}, { prefix: "/bot" })).status).toBe(200);
  });

  it("is 405 for other methods", async () => {
    const response = await ask("/readyz", { method: "POST" });

    expect(response.status).toBe(405);
    expect(response.headers.get("allow")).toBe("GET, HEAD");
  });

  it("is 404 without the prefix", async () => {
    expect((await ask("/livez", {}, { prefix: "/bot" })).status).toBe(404);
    expect((await ask("/bot/livez", {}, { prefix: "/bot" })).status).toBe(200);
  });
});

describe("wrong arguments", () => {
  const wrong: Record<string, () => unknown> = {
    "no handle": () => healthHandler(undefined as never),
    "an empty list": () => healthHandler([]),
    "a promise of a handle": () => healthHandler(Promise.resolve(holder) as never),
    "an unknown option": () => healthHandler(holder, { prefx: "/bot" } as never),
    "a prefix without a slash in front": () => healthHandler(holder, { prefix: "bot" }),
    "a prefix with a slash behind": () => healthHandler(holder, { prefix: "/bot/" }),
    "a register that is undefined": () => healthHandler(holder, { register: undefined as never }),
    "something else than a register": () => healthHandler(holder, { register: {} as never }),
  };
  for (const [name, call] of Object.entries(wrong)) {
    it(`${name}: ERR_INVALID_OPTION`, () => {
      expect(call).toThrow(expect.objectContaining({ code: "ERR_INVALID_OPTION" }));
    });
  }
});
