import { describe, expect, test } from "vitest";
import { virtualBotApi } from "./virtual-bot-api.js";

const url = "https://example.com/hook";

describe("deleteWebhook", () => {
  test("without a webhook it does nothing, also to a waiting poll", () => {
    const { api, botId, call, poll } = virtualBotApi();
    const waiting = poll("a", { timeout: 30 });

    const answer = call("b", "deleteWebhook");

    expect(answer.body).toBe('{"ok":true,"result":true,"description":"Webhook is already deleted"}');
    expect(waiting.status).toBeUndefined();
    expect(api.state(botId).parked?.instance).toBe("a");
  });

  test.each(["true", "yes", "1", "True"])(
    "drop_pending_updates=%s empties the queue and keeps counting ids",
    (drop) => {
      const { api, botId, call, pushMany } = virtualBotApi();
      const ids = pushMany(3);
      expect(call("b", "deleteWebhook", { drop_pending_updates: drop }).description).toBe(
        "Webhook is already deleted",
      );
      expect(api.state(botId)).toMatchObject({ pending: 0, tail: ids[2]! + 1 });
      expect(api.counters()).toMatchObject({ dropped: 3, lost: 3, confirmed: 0 });
      expect(pushMany(1)).toEqual([ids[2]! + 1]);
    },
  );

  test("any other drop_pending_updates keeps the queue", () => {
    const { api, botId, call, pushMany } = virtualBotApi();
    pushMany(1);
    call("b", "deleteWebhook", { drop_pending_updates: "0" });
    expect(api.state(botId).pending).toBe(1);
  });

  test("with a webhook it says so, and polling works again", () => {
    const { call, poll } = virtualBotApi();
    call("a", "setWebhook", { url });
    expect(poll("a").status).toBe(409);
    expect(call("a", "deleteWebhook").description).toBe("Webhook was deleted");
    expect(poll("a").status).toBe(200);
  });
});

describe("setWebhook", () => {
  test("ends the waiting poll and is told when nothing changes", () => {
    const { api, clock, call, poll } = virtualBotApi();
    const waiting = poll("a", { timeout: 30 });
    expect(call("b", "setWebhook", { url }).description).toBe("Webhook was set");
    expect(waiting).toMatchObject({ status: 409, description: "Conflict: terminated by setWebhook request" });
    clock.advance(1_000);
    expect(call("b", "setWebhook", { url }).description).toBe("Webhook is already set");
    clock.advance(1_000);
    expect(call("b", "setWebhook", { url, max_connections: 5 }).description).toBe("Webhook was set");
    expect(api.counters().conflicts["webhook-set"]).toEqual({ live: 1, zombie: 0 });
  });

  test("works once a second; an empty url is a deletion and may come at any time", () => {
    const { clock, call } = virtualBotApi();
    call("b", "setWebhook", { url });
    const tooSoon = call("b", "setWebhook", { url });
    expect(tooSoon.body).toBe(
      '{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 1","parameters":{"retry_after":1}}',
    );
    expect(tooSoon.retryAfter).toBe(1);
    expect(call("b", "setWebhook", { url: "" }).description).toBe("Webhook was deleted");
    clock.advance(1_000);
    expect(call("b", "setWebhook", { url }).description).toBe("Webhook was set");
  });

  test("a url that is none ends the waiting poll all the same", () => {
    const { call, poll } = virtualBotApi();
    const waiting = poll("a", { timeout: 30 });
    expect(call("b", "setWebhook", { url: "not a url" })).toMatchObject({
      status: 400,
      description: "Bad Request: invalid webhook URL specified",
    });
    expect(waiting.status).toBe(409);
    expect(poll("a", { offset: 1 }).status).toBe(200);
  });

  // td/utils/HttpUrl.cpp parse_url:45, Client.cpp do_set_webhook:16013-16024.
  test.each([
    ["ftp://example.com", {}, "invalid webhook URL specified"],
    ["https://", {}, "invalid webhook URL specified"],
    ["https://example.com:0", {}, "invalid webhook URL specified"],
    ["https://example.com:70000", {}, "invalid webhook URL specified"],
    ["https://exa mple.com", {}, "invalid webhook URL specified"],
    [url, { secret_token: "x".repeat(257) }, "secret token is too long"],
    [url, { secret_token: "a b" }, "secret token contains unallowed characters"],
    // WebhookActor.cpp start_up:705-715, check_ip_address:765; Client.cpp on_webhook_closed: "bad webhook".
    ["http://example.com", {}, "bad webhook: An HTTPS URL must be provided for webhook"],
    ["https://example.com:8080", {}, "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"],
    [url, { ip_address: "here" }, "bad webhook: Invalid IP address specified"],
    [url, { ip_address: "::1" }, "bad webhook: IPv6-only addresses are not allowed"],
  ])("refuses %s %j", (given, args, reason) => {
    const { call, poll } = virtualBotApi();
    expect(call("b", "setWebhook", { url: given, ...args })).toMatchObject({
      status: 400,
      description: `Bad Request: ${reason}`,
    });
    expect(poll("a").status).toBe(200);
  });

  test.each([
    "example.com/hook",
    "HTTPS://user@example.com:8443/hook",
    "https://[2001:db8::1]:88",
    "münchen.example",
  ])("takes %s", (given) => {
    const { call } = virtualBotApi();
    expect(call("b", "setWebhook", { url: given }).description).toBe("Webhook was set");
    expect(call("b", "getWebhookInfo").result).toMatchObject({ url: given });
  });

  test("updates wait for whoever comes after the webhook", () => {
    const { call, poll, pushMany } = virtualBotApi();
    call("b", "setWebhook", { url });
    const ids = pushMany(2);
    call("b", "deleteWebhook");
    expect(poll("a").updateIds).toEqual(ids);
  });

  test("refused polls leave allowed_updates and the repeat rule as they were", () => {
    const { api, botId, call, poll } = virtualBotApi();
    call("b", "setWebhook", { url });
    poll("a", { offset: 7, allowed_updates: '["message"]' });
    call("b", "deleteWebhook");
    expect(api.state(botId).allowedUpdates).toContain("callback_query");
    expect(poll("a", { offset: 7 }).answeredAt).toBe(0);
  });
});

describe("a change that takes its time", () => {
  test("refuses polls until it is done", () => {
    const { clock, call, poll } = virtualBotApi({ webhookSetupMs: 5_000 });
    const hook = call("b", "setWebhook", { url });
    expect(poll("a").status).toBe(409);
    clock.advance(4_999);
    expect(hook.status).toBeUndefined();
    clock.advance(1);
    expect(hook.description).toBe("Webhook was set");
  });

  test("is ended with a 409 by the next one", () => {
    const { api, clock, call } = virtualBotApi({ webhookSetupMs: 5_000 });
    const first = call("a", "setWebhook", { url });
    clock.advance(1_000);
    const second = call("b", "deleteWebhook");

    expect(first).toMatchObject({ status: 409, description: "Conflict: terminated by other setWebhook" });
    clock.advance(5_000);
    expect(second).toMatchObject({ description: "Webhook was deleted", answeredAt: 6_000 });
    expect(api.counters().conflicts["webhook-replaced"]).toEqual({ live: 1, zombie: 0 });
  });
});

describe("getWebhookInfo", () => {
  test("tells of the last delivery that failed, until a webhook is set anew", () => {
    const { api, botId, call, clock } = virtualBotApi();
    const info = () => JSON.parse(call("a", "getWebhookInfo").body ?? "{}").result;
    call("a", "setWebhook", { url });
    api.failWebhook(botId, "Connection refused");

    expect(info()).toMatchObject({
      last_error_date: expect.any(Number),
      last_error_message: "Connection refused",
    });

    clock.advance(1_000);
    call("a", "setWebhook", { url: `${url}/2` });
    expect(info()).not.toHaveProperty("last_error_message");
  });

  test("tells what is pending, delivered or not, and disturbs nobody", () => {
    const { call, poll, pushMany } = virtualBotApi();
    pushMany(2);
    poll("a");
    expect(call("b", "getWebhookInfo").body).toBe(
      '{"ok":true,"result":{"url":"","has_custom_certificate":false,"pending_update_count":2}}',
    );
    expect(poll("a", { offset: 1 }).updateIds).toHaveLength(2);
  });

  // Client.cpp JsonUpdateTypes:5925: by their number, and the server's own two not at all.
  test("names allowed_updates in the server's order", () => {
    const { call, poll } = virtualBotApi();
    const allowed = ["poll", "chat_member", "custom_event", "message"];
    poll("a", { allowed_updates: JSON.stringify(allowed) });
    expect(call("b", "getWebhookInfo").result).toMatchObject({
      allowed_updates: ["message", "poll", "chat_member"],
    });
  });

  // ClientManager.cpp:355 and timeout_expired:549-556, TQueue.cpp run_gc:312.
  test("pending_update_count falls by age, with a sweep a minute after the first ten minutes", () => {
    const { api, botId, clock, call } = virtualBotApi();
    const pending = () =>
      (call("b", "getWebhookInfo").result as { pending_update_count: number }).pending_update_count;
    api.push(botId, { inline_query: {} });
    clock.advance(599_000);
    expect(pending()).toBe(1);
    clock.advance(1_000);
    expect(pending()).toBe(0);

    api.push(botId, { inline_query: {} });
    clock.advance(59_000);
    expect(pending()).toBe(1);
    clock.advance(1_000);
    expect(pending()).toBe(0);
    expect(api.counters()).toMatchObject({ expired: 2, lost: 2 });
  });

  test("has more to tell about a webhook", () => {
    const { call } = virtualBotApi();
    call("b", "setWebhook", { url, allowed_updates: '["message"]' });
    expect(call("b", "getWebhookInfo").result).toEqual({
      url,
      has_custom_certificate: false,
      pending_update_count: 0,
      max_connections: 40,
      ip_address: "<unknown>",
      allowed_updates: ["message"],
    });
  });
});
