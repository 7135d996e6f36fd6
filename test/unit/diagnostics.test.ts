import { channel, subscribe, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import type { SafePollingMessages } from "grammy-safe-polling";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { channelName, publish } from "../../src/diagnostics.js";
import { updateAgeMs } from "../../src/session/handle-record.js";
import { channelNames } from "../tools/channels.js";
import { VirtualWorld } from "../tools/virtual-world.js";

/** What was published, as `[channel, message]`. */
let published: [string, unknown][];
const record = (message: unknown, name: string | symbol) =>
  published.push([String(name).replace("grammy-safe-polling:", ""), message]);

beforeEach(() => {
  published = [];
  for (const name of channelNames) subscribe(channelName(name), record);
});
afterEach(() => {
  for (const name of channelNames) unsubscribe(channelName(name), record);
});

const on = <N extends keyof SafePollingMessages>(name: N) =>
  published.filter(([channel]) => channel === name).map(([, message]) => message as SafePollingMessages[N]);

describe("the channels", () => {
  it("tell every state change, lease, handover and release, of whom and of which key", async () => {
    const world = new VirtualWorld();
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(100);

    void a.session.stop();
    await world.until(() => b.states.includes("polling"));
    await world.advance(100);

    const key = String(world.account.id);
    const statesOf = (name: string) =>
      on("state").flatMap(({ instance, state }) => (instance === name ? [state] : []));
    expect(statesOf("a")).toEqual(["polling", "draining", "stopped"]);
    expect(statesOf("b")).toEqual(["standby", "polling"]);
    expect(on("acquired").map(({ instance, lease }) => `${instance} ${lease.token}`)).toEqual(["a 1", "b 2"]);
    expect(on("released")).toMatchObject([{ instance: "a", key, lease: { token: 1 } }]);
    expect(on("standby")).toMatchObject([{ instance: "b", key, holder: { token: 1 } }]);
    expect(on("handover")).toMatchObject([{ instance: "b", key, lease: { token: 2 }, from: { token: 1 } }]);
    expect(on("takeover")).toEqual([]);
  });

  it("tell a takeover from a handover: the holder has stopped beating without a word", async () => {
    const world = new VirtualWorld();
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(100);

    world.locks.cutOff.add("a");
    await world.until(() => b.states.includes("polling"));

    expect(on("lost")).toMatchObject([{ instance: "a", reason: "expired", lease: { token: 1 } }]);
    expect(on("takeover")).toMatchObject([{ instance: "b", lease: { token: 2 }, from: { token: 1 } }]);
    expect(on("handover")).toEqual([]);
    expect(a.session.health()).toMatchObject({ losses: { expired: 1 }, handovers: 0, takeovers: 0 });
    expect(b.session.health()).toMatchObject({ handovers: 0, takeovers: 1 });
  });

  it("tell neither for the first lease, nor for one that comes back to the same instance", async () => {
    const world = new VirtualWorld();
    const a = world.start("a");
    await world.advance(100);

    void a.session.resign();
    await world.advance(30_000);

    expect(on("acquired").length).toBe(2);
    expect([...on("handover"), ...on("takeover")]).toEqual([]);
  });

  it("tell a lease that went to and fro as two handovers, each at the instance that got it", async () => {
    const world = new VirtualWorld();
    const a = world.start("a");
    await world.advance(100);
    const b = world.start("b");
    await world.advance(100);

    void a.session.resign();
    await world.until(() => b.session.state === "polling");
    await world.advance(2_345);
    void b.session.resign();
    await world.until(() => a.session.state === "polling");

    expect(on("handover").map(({ instance }) => instance)).toEqual(["b", "a"]);
    expect(on("takeover")).toEqual([]);
  });

  it("tell polls with their outcome and duration, beats with theirs, and the age of updates", async () => {
    const world = new VirtualWorld();
    const a = world.start("a", { options: { polling: { timeoutSeconds: 5 } } });
    await world.advance(100);
    world.push();
    await world.advance(20_000);
    world.api.injectFault({ kind: "bad-gateway", method: "getUpdates" });
    await world.advance(6_000);

    expect(on("poll").slice(0, 2)).toMatchObject([
      { instance: "a", outcome: "answered", updates: 1 },
      { outcome: "answered", updates: 0, durationMs: expect.closeTo(5_000, -2) },
    ]);
    expect(on("poll").map(({ outcome }) => outcome)).toContain("server");
    expect(on("beat")[0]).toEqual({
      instance: "a",
      lock: "model",
      isGood: true,
      durationMs: expect.any(Number),
    });
    world.locks.requestsArrive = false;
    await world.advance(6_000);
    expect(on("beat").at(-1)).toMatchObject({ isGood: false, durationMs: 2_000 });
    expect(on("update")).toMatchObject([{ instance: "a", updateId: a.handled[0] }]);
    expect(on("update")[0]?.ageMs).toBeLessThanOrEqual(1_100);
  });

  it("tell conflicts, and errors of handlers", async () => {
    const world = new VirtualWorld();
    const a = world.start("a", {
      configure: (bot) => {
        bot.errorHandler = undefined as never;
      },
      onMessage: () => {
        throw new Error("a handler failed");
      },
    });
    await world.advance(100);
    world.push();
    await world.advance(100);
    void world
      .bot("rival")
      .api.getUpdates({ timeout: 30 })
      .catch(() => {});
    await world.until(() => a.session.state === "conflict", 60_000);

    expect(on("conflict")).toMatchObject([{ instance: "a", kind: "other-poller" }]);
    expect(on("retry")).toMatchObject([{ instance: "a", attempt: 1, attempts: 5 }]);
  });
});

describe("a channel that nobody has subscribed to", () => {
  it("costs nothing: no message is made", () => {
    unsubscribe(channelName("takeover"), record);
    const build = vi.fn();

    publish("takeover", build);

    expect(build).not.toHaveBeenCalled();
    expect(channel(channelName("takeover")).hasSubscribers).toBe(false);
  });
});

describe("the age of an update", () => {
  const message = { message_id: 1, date: 100, chat: { id: 1, type: "private" as const, first_name: "a" } };
  const ageOf = (content: object) =>
    updateAgeMs({ update_id: 1, ...content } as never, { monotonicMs: 0, wallMs: 200_000 });

  it("is its message's, or its edit's", () => {
    expect(ageOf({ message })).toBe(100_000);
    expect(ageOf({ edited_message: { ...message, edit_date: 160 } })).toBe(40_000);
    expect(ageOf({ message_reaction: { date: 170 } })).toBe(30_000);
  });

  it("is unknown where the update has no date: that of a button's message is not the click's", () => {
    expect(ageOf({ callback_query: { id: "1", message } })).toBeUndefined();
    expect(ageOf({ inline_query: { id: "1", query: "" } })).toBeUndefined();
    expect(ageOf({})).toBeUndefined();
  });

  it("is unknown for a business connection: its date is when it was made, not when it changed or ended", () => {
    expect(ageOf({ business_connection: { id: "1", date: 100, is_enabled: false } })).toBeUndefined();
  });
});

it("docs/observability.md lists every channel", () => {
  const page = readFileSync(new URL("../../docs/observability.md", import.meta.url), "utf8");
  const documented = [...page.matchAll(/^\| `grammy-safe-polling:(\w+)`/gm)].map(([, name]) => name);

  expect(documented.sort()).toEqual([...channelNames].sort());
});
