import { describe, expect, test } from "vitest";
import type { FaultKind } from "../../../src/testing/bot-api/journal.js";
import { virtualBotApi } from "./virtual-bot-api.js";

test("an unknown kind is refused", () => {
  const { api } = virtualBotApi();
  expect(() => api.injectFault({ kind: "no-such" as never })).toThrow(
    /^Expected `kind` to be one of too-many-requests, /,
  );
});

describe("faults that answer in place of the bot", () => {
  test.each<[FaultKind, number, string]>([
    ["internal-error", 500, '{"ok":false,"error_code":500,"description":"Internal Server Error: restart"}'],
    ["bad-gateway", 502, '{"ok":false,"error_code":502,"description":"Bad Gateway"}'],
    ["bad-gateway-html", 502, "<html>\r\n<head><title>502 Bad Gateway</title></head>"],
    ["not-found-html", 404, "<html>\r\n<head><title>404 Not Found</title></head>"],
    ["unauthorized", 401, '{"ok":false,"error_code":401,"description":"Unauthorized"}'],
  ])("%s: %d, once, and nothing is processed", (kind, status, body) => {
    const { api, botId, poll, pushMany } = virtualBotApi();
    const [, second] = pushMany(2);
    api.injectFault({ kind });

    const faulty = poll("a", { offset: second! });

    expect(faulty.status).toBe(status);
    expect(faulty.body).toContain(body);
    expect(api.state(botId).pending).toBe(2);
    expect(poll("a", { offset: second! }).updateIds).toEqual([second]);
  });

  test("too-many-requests has its retry_after in body and header", () => {
    const { api, poll } = virtualBotApi();
    api.injectFault({ kind: "too-many-requests", retryAfter: 17 });
    expect(poll("a")).toMatchObject({
      status: 429,
      retryAfter: 17,
      body: '{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 17","parameters":{"retry_after":17}}',
    });
  });

  test("silent: never answered, nothing processed", () => {
    const { api, botId, clock, poll, pushMany } = virtualBotApi();
    const [, second] = pushMany(2);
    api.injectFault({ kind: "silent" });
    const silent = poll("a", { offset: second! });
    clock.advance(1_000_000);
    expect(silent.status).toBeUndefined();
    expect(api.state(botId).pending).toBe(2);
  });

  test("reset-before: nothing is processed; reset-after: all of it, but nobody gets the updates", () => {
    const { api, botId, poll, pushMany } = virtualBotApi();
    const ids = pushMany(2);
    api.injectFault({ kind: "reset-before" });
    expect(poll("a", { offset: ids[1]! }).status).toBe("reset");
    expect(api.state(botId).pending).toBe(2);

    api.injectFault({ kind: "reset-after" });
    expect(poll("a", { offset: ids[1]! }).status).toBe("reset");
    expect(api.state(botId).pending).toBe(1);
    expect(api.counters()).toMatchObject({ confirmed: 1, lost: 1, delivered: 0, zombieAnswers: 1 });
    const answer = api.events.findLast((event) => event.type === "answered");
    expect(answer).toMatchObject({ status: 200, updateIds: [ids[1]], zombie: "response-lost" });
  });

  test("reset-after lets a poll wait first", () => {
    const { api, clock, poll } = virtualBotApi();
    api.injectFault({ kind: "reset-after" });
    const waiting = poll("a", { timeout: 5 });
    clock.advance(4_999);
    expect(waiting.status).toBeUndefined();
    clock.advance(1);
    expect(waiting.status).toBe("reset");
  });
});

describe("faults in time", () => {
  test("delay-answer: processed at once, answered later, a zombie if the client goes meanwhile", () => {
    const { api, botId, clock, poll, pushMany } = virtualBotApi();
    const ids = pushMany(2);
    api.injectFault({ kind: "delay-answer", delayMs: 700, times: 2 });
    const patient = poll("a", { offset: ids[1]! });
    const impatient = poll("b", { offset: 0 });
    expect(api.state(botId).pending).toBe(1);
    clock.advance(500);
    impatient.disconnect();
    clock.advance(200);

    expect(patient).toMatchObject({ answeredAt: 700, updateIds: [ids[1]] });
    expect(api.counters()).toMatchObject({ deliveries: 1, zombieAnswers: 1 });
  });

  test("hold: a request that was overtaken displaces the poll that came later", () => {
    const { api, botId, clock, poll } = virtualBotApi();
    const fault = api.injectFault({ kind: "hold", instance: "a" });
    poll("a", { timeout: 30 }).disconnect();
    const b = poll("b", { timeout: 30 });
    expect(b.status).toBeUndefined();
    clock.advance(100);

    fault.release();

    expect(b).toMatchObject({ status: 409, answeredAt: 100 });
    expect(api.state(botId).parked?.instance).toBe("a");
    clock.advance(30_000);
    expect(api.counters()).toMatchObject({ zombieAnswers: 1 });
  });

  test("hold with a delay lets go by itself, once", () => {
    const { api, clock, call } = virtualBotApi();
    const fault = api.injectFault({ kind: "hold", delayMs: 250, times: 2 });
    const held = call("a", "getMe");
    clock.advance(250);
    expect(held.answeredAt).toBe(250);
    fault.release();

    const released = call("a", "getMe");
    fault.release();
    expect(released.answeredAt).toBe(250);
    clock.advance(250);
    expect(api.events.filter((event) => event.type === "answered")).toHaveLength(2);
  });

  test("a call that is held while its token is revoked is refused", () => {
    const { api, token, call } = virtualBotApi();
    const fault = api.injectFault({ kind: "hold" });
    const held = call("a", "getMe");
    api.revoke(token);
    fault.release();
    expect(held.status).toBe(401);
  });
});

describe("which calls are hit", () => {
  test("by method, instance and bot, so many times", () => {
    const { api, botId, call, poll } = virtualBotApi();
    const other = api.addBot();
    const fault = api.injectFault({
      kind: "internal-error",
      method: "getUpdates",
      instance: "a",
      botId,
      times: 2,
    });

    expect(call("a", "getMe").status).toBe(200);
    expect(poll("b").status).toBe(200);
    expect(call("a", "getUpdates", {}, other.token).status).toBe(200);
    expect(poll("a").status).toBe(500);
    expect(fault.remaining).toBe(1);
    expect(poll("a").status).toBe(500);
    expect(poll("a", { offset: 1 }).status).toBe(200);
  });

  test("until it is removed, oldest fault first", () => {
    const { api, call } = virtualBotApi();
    const first = api.injectFault({ kind: "internal-error", times: null });
    api.injectFault({ kind: "bad-gateway" });
    const statuses = Array.from({ length: 20 }, () => call("a", "getMe").status);
    expect(new Set(statuses)).toEqual(new Set([500]));
    first.remove();
    expect([call("a", "getMe").status, call("a", "getMe").status]).toEqual([502, 200]);
  });

  test("clearFaults ends all, and lets held calls go", () => {
    const { api, call } = virtualBotApi();
    api.injectFault({ kind: "hold", times: null });
    const held = call("a", "getMe");
    api.clearFaults();
    expect(held.status).toBe(200);
    expect(call("a", "getMe").status).toBe(200);
  });

  test("the journal tells which fault hit which request", () => {
    const { api, call } = virtualBotApi();
    api.injectFault({ kind: "silent" });
    call("a", "getMe");
    const [request, fault] = api.events;
    expect(request).toMatchObject({ type: "request", method: "getme", instance: "a" });
    expect(fault).toMatchObject({ type: "fault", fault: "silent", instance: "a" });
  });
});
