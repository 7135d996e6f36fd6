import { describe, expect, test } from "vitest";
import { virtualBotApi } from "./virtual-bot-api.js";

const day = 86_400_000;

describe("parameters", () => {
  test("timeout is cut to 50 s and limit to 100", () => {
    const { clock, poll, pushMany } = virtualBotApi();
    const waiting = poll("a", { timeout: 300 });
    clock.advance(60_000);
    expect(waiting.answeredAt).toBe(50_000);

    pushMany(150);
    expect(poll("a", { offset: 1, limit: 1_000 }).updateIds).toHaveLength(100);
  });

  test("garbage is 0, so a limit that is no number gives one update; an empty one gives all", () => {
    const { poll, pushMany } = virtualBotApi();
    const ids = pushMany(3);

    expect(poll("a", { offset: 1, limit: "abc" }).updateIds).toEqual([ids[0]]);
    expect(poll("a", { offset: 2, limit: "null" }).updateIds).toEqual([ids[0]]);
    expect(poll("a", { offset: 3, limit: "0" }).updateIds).toEqual([ids[0]]);
    expect(poll("a", { offset: 4, limit: "-5" }).updateIds).toEqual([ids[0]]);
    expect(poll("a", { offset: 5, limit: "" }).updateIds).toEqual(ids);
    expect(poll("a", { offset: 6, limit: "2.9" }).updateIds).toEqual(ids.slice(0, 2));
  });
});

describe("the repeat rule", () => {
  test("the same raw offset within 3 s makes a short poll wait 3 s, whoever asks", () => {
    const { clock, poll } = virtualBotApi();
    expect(poll("a").answeredAt).toBe(0);
    clock.advance(2_999);

    const repeated = poll("b");
    expect(repeated.status).toBeUndefined();
    clock.advance(3_000);
    expect(repeated).toMatchObject({ status: 200, result: [], answeredAt: 5_999 });
  });

  test("after 3 s, or with another raw offset, a short poll stays short", () => {
    const { clock, poll } = virtualBotApi();
    poll("a");
    clock.advance(3_000);
    expect(poll("a").answeredAt).toBe(3_000);
    expect(poll("a", { offset: 1 }).answeredAt).toBe(3_000);
    expect(poll("a").answeredAt).toBe(3_000);
  });

  test("a longer timeout stays as it is", () => {
    const { clock, poll } = virtualBotApi();
    poll("a");
    const waiting = poll("a", { timeout: 7 });
    clock.advance(8_000);
    expect(waiting.answeredAt).toBe(7_000);
  });

  test("the same raw offset within 0.5 s gets one update, even from a long poll", () => {
    const { clock, poll, pushMany } = virtualBotApi();
    const ids = pushMany(3);
    expect(poll("a", { timeout: 30 }).updateIds).toEqual(ids);
    clock.advance(499);
    expect(poll("a", { timeout: 30 }).updateIds).toEqual([ids[0]]);
    clock.advance(500);
    expect(poll("a", { timeout: 30 }).updateIds).toEqual(ids);
  });

  test("an offset that is 0 on the wire is not the same as the id that it stands for", () => {
    const { poll, pushMany } = virtualBotApi();
    const ids = pushMany(2);
    poll("a", { offset: 0 });
    expect(poll("a", { offset: ids[0]! }).updateIds).toEqual(ids);
  });
});

describe("offsets", () => {
  test("a positive one removes what lies before it, when the call arrives", () => {
    const { api, botId, poll, pushMany } = virtualBotApi();
    const ids = pushMany(4);

    expect(poll("a", { offset: ids[2]! }).updateIds).toEqual(ids.slice(2));
    expect(api.state(botId)).toMatchObject({ head: ids[2], pending: 2 });
  });

  test("0 removes nothing and begins with the oldest", () => {
    const { poll, pushMany } = virtualBotApi();
    const ids = pushMany(3);
    poll("a", { offset: ids[1]! });
    expect(poll("a", { offset: 0 }).updateIds).toEqual(ids.slice(1));
  });

  test("a negative one keeps only the last so many, for good", () => {
    const { api, poll, pushMany } = virtualBotApi();
    const ids = pushMany(5);
    expect(poll("a", { offset: -2 }).updateIds).toEqual(ids.slice(3));
    expect(poll("a", { offset: 0 }).updateIds).toEqual(ids.slice(3));
    expect(api.counters()).toMatchObject({ confirmed: 3, lost: 3 });
  });

  test("a negative one larger than the queue keeps all", () => {
    const { poll, pushMany } = virtualBotApi();
    const ids = pushMany(3);
    expect(poll("a", { offset: -100 }).updateIds).toEqual(ids);
  });

  test("one more than 100 000 before the oldest removes nothing", () => {
    const { poll, pushMany } = virtualBotApi();
    const [first] = pushMany(2);
    expect(poll("a", { offset: first! - 100_001 }).updateIds).toHaveLength(2);
  });

  test("up to 10 after the next id is taken at its word: everything goes", () => {
    const { api, botId, poll, pushMany } = virtualBotApi();
    pushMany(2);
    expect(poll("a", { offset: api.state(botId).tail + 10 }).result).toEqual([]);
    expect(api.state(botId).pending).toBe(0);
  });

  test("on a bot that never had an update, any offset waits and misses nothing", () => {
    const { clock, poll, pushMany } = virtualBotApi();
    const waiting = poll("a", { offset: 4_000_000, timeout: 30 });
    const ids = pushMany(2);
    clock.advance(2);
    expect(waiting.updateIds).toEqual(ids);
  });
});

describe("what is sent", () => {
  test("updates stay until they are confirmed", () => {
    const { poll, pushMany } = virtualBotApi();
    const ids = pushMany(2);
    expect(poll("a", { offset: 0 }).updateIds).toEqual(ids);
    expect(poll("a", { offset: 1 }).updateIds).toEqual(ids);
  });

  test("the id comes first, then the content", () => {
    const { api, botId, poll } = virtualBotApi();
    api.push(botId, { message: { text: "hi" } });
    expect(poll("a").body).toBe('{"ok":true,"result":[{"update_id":5000000,"message":{"text":"hi"}}]}');
  });

  test("an answer ends before 4 MiB", () => {
    const { api, botId, poll } = virtualBotApi();
    // 50 + 262 094 = 2^18: sixteen of them are exactly 4 MiB, and the last one no longer fits.
    const text = "x".repeat(262_094 - '"message":{"text":""}'.length);
    for (let count = 0; count < 20; count++) api.push(botId, { message: { text } });
    expect(poll("a").updateIds).toHaveLength(15);
  });

  test("pushing a type that the Bot API does not have is a mistake of the test", () => {
    const { api, botId } = virtualBotApi();
    expect(() => api.push(botId, { mesage: {} })).toThrow(TypeError);
  });
});

describe("waiting", () => {
  test("a new update wakes the poll 1 ms after the last push, at most 2 ms after the first", () => {
    const { clock, poll, pushMany } = virtualBotApi();
    const single = poll("a", { timeout: 30 });
    pushMany(1);
    clock.advance(0.9);
    expect(single.status).toBeUndefined();
    clock.advance(10);
    expect(single.answeredAt).toBe(1);

    const batch = poll("a", { offset: 5_000_001, timeout: 30 });
    const start = clock.now().monotonicMs;
    for (let push = 0; push < 6; push++) {
      pushMany(1);
      clock.advance(0.5);
    }
    expect(batch.answeredAt! - start).toBeCloseTo(2);
    expect(batch.updateIds).toHaveLength(4);
  });

  test("a poll whose time ends is answered with nothing", () => {
    const { api, botId, clock, poll } = virtualBotApi();
    const waiting = poll("a", { timeout: 5 });
    expect(api.state(botId).parked).toEqual({ instance: "a", offset: 0, until: 5_000 });
    clock.advance(5_000);
    expect(waiting).toMatchObject({ status: 200, result: [], answeredAt: 5_000 });
    expect(api.state(botId).parked).toBeUndefined();
  });

  test("a wake-up does not outlast the poll's own time", () => {
    const { clock, poll, pushMany } = virtualBotApi();
    const waiting = poll("a", { timeout: 1 });
    clock.advance(999.5);
    const ids = pushMany(1);
    clock.advance(0.5);
    expect(waiting).toMatchObject({ answeredAt: 1_000, updateIds: ids });
  });

  test("a poll that finds updates leaves the waiting one alone", () => {
    const { api, botId, poll, pushMany } = virtualBotApi();
    const waiting = poll("a", { offset: 4_999_999, timeout: 30 });
    const ids = pushMany(1);
    expect(poll("b", { offset: 0, timeout: 30 }).updateIds).toEqual(ids);
    expect(waiting.status).toBeUndefined();
    expect(api.state(botId).parked?.instance).toBe("a");
  });
});

describe("allowed_updates", () => {
  const reaction = { message_reaction: {} };

  test("filters what is pushed, not what is queued, and lasts until it is changed", () => {
    const { api, botId, poll } = virtualBotApi();
    const message = api.pushMessage(botId, "hi");
    poll("a", { allowed_updates: '["callback_query"]' });
    expect(api.pushMessage(botId, "filtered")).toBeUndefined();
    const query = api.push(botId, { callback_query: {} });

    expect(poll("a", { offset: 1 }).updateIds).toEqual([message, query]);
    expect(api.pushMessage(botId, "still filtered")).toBeUndefined();
    expect(api.counters()).toMatchObject({ pushed: 2, rejected: 2 });
  });

  test("by default three types are left out; an empty list, or only unknown names, is the default", () => {
    const { api, botId, poll } = virtualBotApi();
    expect(api.push(botId, reaction)).toBeUndefined();
    poll("a", { offset: 1, allowed_updates: '["MESSAGE_reaction","nonsense"]' });
    expect(api.push(botId, reaction)).toBeDefined();
    poll("a", { offset: 2, allowed_updates: '["nonsense"]' });
    expect(api.push(botId, reaction)).toBeUndefined();
    poll("a", { offset: 3, allowed_updates: '["message_reaction"]' });
    poll("a", { offset: 4, allowed_updates: "[]" });
    expect(api.push(botId, reaction)).toBeUndefined();
    expect(api.pushMessage(botId, "hi")).toBeDefined();
  });

  test.each(["[1]", '["message",1]', '"message"', "nonsense", ""])("%j changes nothing", (argument) => {
    const { api, botId, poll } = virtualBotApi();
    poll("a", { offset: 1, allowed_updates: '["message_reaction"]' });
    poll("a", { offset: 2, allowed_updates: argument });
    expect(api.state(botId).allowedUpdates).toEqual(["message_reaction"]);
  });
});

describe("expiry and limits of the queue", () => {
  // Client.cpp:17053-17353. Whole seconds, and the last one counts: TQueue.cpp do_get:442 (`expires_at < unix_time_now`).
  test.each([
    ["message", day],
    ["callback_query", 150_000],
    ["shipping_query", 150_000],
    ["pre_checkout_query", 150_000],
    ["inline_query", 30_000],
    ["chosen_inline_result", 600_000],
    ["custom_event", 600_000],
    ["poll_answer", day],
    ["my_chat_member", day],
  ])("%s is kept for %d ms", (type, lifetimeMs) => {
    const { api, botId, clock, poll } = virtualBotApi();
    api.push(botId, { [type]: {} });
    clock.advance(lifetimeMs + 999);
    expect(poll("a", { offset: 1 }).updateIds).toHaveLength(1);
    clock.advance(1);
    expect(poll("a", { offset: 2 }).updateIds).toEqual([]);
    expect(api.counters()).toMatchObject({ expired: 1, lost: 0, pending: 0 });
  });

  test("an expired update between others is skipped", () => {
    const { api, botId, clock, poll } = virtualBotApi();
    const first = api.pushMessage(botId, "one");
    api.push(botId, { inline_query: {} });
    const third = api.pushMessage(botId, "three");
    clock.advance(31_000);

    expect(poll("a", { offset: 1 }).updateIds).toEqual([first, third]);
    expect(poll("a", { offset: third! }).updateIds).toEqual([third]);
    expect(api.counters()).toMatchObject({ expired: 1, lost: 1, confirmed: 1, pending: 1 });
  });

  test("a full queue discards what comes on top", () => {
    const { api, botId } = virtualBotApi({ journal: false });
    for (let count = 0; count < 100_000; count++) api.push(botId, { message: {} });
    expect(api.pushMessage(botId, "too many")).toBeUndefined();
    expect(api.counters()).toMatchObject({ pushed: 100_000, rejected: 1 });
  });

  test("an update of more than 512 KiB is discarded", () => {
    const { api, botId } = virtualBotApi();
    const contentOf = (bytes: number) => ({
      message: { text: "x".repeat(bytes - '"message":{"text":""}'.length) },
    });
    expect(api.push(botId, contentOf(512 * 1024 + 1))).toBeUndefined();
    expect(api.push(botId, contentOf(512 * 1024))).toBeDefined();
  });

  test("ids start at random in their range, count up by one, and start anew below 2 000 000 000", () => {
    const starts = [0, 0.999_999_999_99].map((random) => {
      const { api, botId, pushMany } = virtualBotApi({
        random: () => random,
        firstUpdateId: undefined as never,
      });
      const [first] = pushMany(1);
      expect(pushMany(1)).toEqual([first! + 1]);
      expect(api.state(botId).head).toBe(first);
      return first;
    });
    expect(starts).toEqual([2_000_001, 1_000_000_000]);

    const last = virtualBotApi({ firstUpdateId: 1_999_999_998 });
    expect(last.pushMany(1)).toEqual([1_999_999_998]);
    expect(last.pushMany(2)).toEqual([1_999_999_998, 1_999_999_998]);
    expect(last.api.counters()).toMatchObject({ pushed: 3, dropped: 2, lost: 2, pending: 1 });
  });
});
