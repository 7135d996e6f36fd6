import { describe, expect, test } from "vitest";
import { type VirtualBotApi, virtualBotApi } from "./virtual-bot-api.js";

const url = "https://example.com/hook";
const active =
  "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";

describe("the conflict throttle", () => {
  test("a late 409 does not keep the next ones late", () => {
    const { clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 });
    poll("b", { timeout: 30 }); // a: 409 at 0
    clock.advance(2_900);
    const c = poll("c", { timeout: 30 }); // b: 409 at 5 900
    clock.advance(100);
    const d = poll("d", { timeout: 30 }); // c: at once, the throttle ended at 3 000
    clock.advance(1);
    poll("e", { timeout: 30 }); // d: 3 s later again

    clock.advance(10_000);
    expect([c.answeredAt, d.answeredAt]).toEqual([3_000, 6_001]);
  });

  test("an immediate 409 makes the others of the next 3 s late, each by 3 s of its own", () => {
    const { clock, poll } = virtualBotApi();
    const calls = [0, 1, 2, 3].map((second) => {
      const call = poll(`poller ${second}`, { timeout: 30 });
      clock.advance(1_000);
      return call;
    });
    clock.advance(10_000);
    expect(calls.slice(0, 3).map(({ answeredAt }) => answeredAt)).toEqual([1_000, 5_000, 6_000]);
  });

  test("a poll that waits for its late 409 gets no updates", () => {
    const { clock, poll, pushMany } = virtualBotApi();
    poll("a", { timeout: 30 });
    poll("b", { timeout: 30 });
    const c = poll("c", { timeout: 30 });
    const ids = pushMany(1);
    clock.advance(10);
    expect(c.updateIds).toEqual(ids);

    const b = poll("b", { offset: ids[0]! + 1, timeout: 30 });
    const d = poll("d", { offset: ids[0]! + 1, timeout: 30 });
    pushMany(1);
    clock.advance(5_000);
    expect(b).toMatchObject({ status: 409, answeredAt: 3_010 });
    expect(d.status).toBe(200);
  });

  test("every kind of conflict goes through the one throttle of the bot", () => {
    const { clock, call, poll } = virtualBotApi();
    const a = poll("a", { timeout: 30 });
    const hook = call("deploy", "setWebhook", { url });
    const refused = poll("a", { timeout: 30 });

    expect(hook.description).toBe("Webhook was set");
    expect(a).toMatchObject({ description: "Conflict: terminated by setWebhook request", answeredAt: 0 });
    expect(refused.status).toBeUndefined();
    clock.advance(3_000);
    expect(refused).toMatchObject({ status: 409, description: active, answeredAt: 3_000 });
  });

  test("each bot has its own", () => {
    const { api, call, poll } = virtualBotApi();
    const other = api.addBot();
    poll("a", { timeout: 30 });
    poll("b", { timeout: 30 });
    const a = call("a", "getUpdates", { timeout: 30 }, other.token);
    call("b", "getUpdates", { timeout: 30 }, other.token);
    expect(a).toMatchObject({ status: 409, answeredAt: 0 });
  });
});

describe("the slot under retries", () => {
  /** Polls again `sleepMs` after each 409, as many clients do, and adds up how long each one's poll had the slot. */
  function contend(server: VirtualBotApi, durationMs: number, sleepMs: Readonly<Record<string, number>>) {
    const owned: Record<string, number> = { a: 0, b: 0 };
    const retryAt: Record<string, number> = { a: 0, b: 500 };
    const current: Record<string, ReturnType<VirtualBotApi["poll"]> | undefined> = {};
    for (let now = 0; now < durationMs; now += 100) {
      for (const instance of ["a", "b"]) {
        if (current[instance]?.status === 409) {
          current[instance] = undefined;
          retryAt[instance] = now + sleepMs[instance]!;
        }
        if (current[instance] === undefined && now >= retryAt[instance]!) {
          current[instance] = server.poll(instance, { timeout: 50 });
        }
      }
      const owner = server.api.state(server.botId).parked?.instance;
      if (owner !== undefined) owned[owner]! += 100;
      server.clock.advance(100);
    }
    return owned;
  }

  test("the first victim that retries at once keeps nearly all of the time: the reference's timeline 5.2", () => {
    const owned = contend(virtualBotApi(), 60_000, { a: 0, b: 0 });
    expect(owned.a! / (owned.a! + owned.b!)).toBeGreaterThan(0.9);
  });

  test("with 3 s between attempts on both sides, they share it about evenly", () => {
    const owned = contend(virtualBotApi(), 61_000, { a: 3_000, b: 3_000 });
    const share = owned.a! / (owned.a! + owned.b!);
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.6);
  });
});
