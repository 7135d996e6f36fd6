// What a poller may conclude from the ids of its updates: the facts of the server on which the rule of gaps rests
// (docs/409.md; src/polling). Lines of tdlib/telegram-bot-api @ 01a3679 and tdlib/td @ 022d602.
import { describe, expect, test } from "vitest";
import { updateKinds } from "../../tools/update-kinds.js";
import { virtualBotApi } from "./virtual-bot-api.js";

const startDate = Date.UTC(2026, 0, 1) / 1_000;
const allKinds = JSON.stringify(Object.keys(updateKinds));

/** A bot that asked for every kind of update, and pushes them. */
function busyBot() {
  const virtual = virtualBotApi();
  const { api, botId, clock, poll } = virtual;
  poll("a", { allowed_updates: allKinds });
  let number = 0;
  const date = () => startDate + Math.floor(clock.now().monotonicMs / 1_000);
  return {
    ...virtual,
    /** Pushes one update of a kind and tells its id. */
    push: (kind: string) => api.push(botId, updateKinds[kind]!(++number, date())),
    date,
  };
}

describe("ids are given at push, one after the other", () => {
  // TQueue.cpp push:159-179, do_push:130 (tail_id = event_id.next()).
  test("over all kinds of updates", () => {
    const { push } = busyBot();
    const ids = Object.keys(updateKinds).map(push);
    expect(ids).toEqual(ids.map((_, index) => 5_000_000 + index));
  });

  // Client.cpp JsonUpdate writes the queue's id: one that the pusher gives counts for nothing.
  test("and there is one id in an update, the queue's own", () => {
    const { api, botId, poll } = busyBot();
    const id = api.push(botId, { update_id: 7, message: { text: "hi" } });
    expect(poll("a").body).toBe(`{"ok":true,"result":[{"update_id":${id},"message":{"text":"hi"}}]}`);
  });

  // Client.cpp add_update_impl:16971-16975: the filter comes before the queue.
  test("what allowed_updates filter out uses none", () => {
    const { poll, push } = busyBot();
    poll("a", { offset: 1, allowed_updates: '["message"]' });
    const first = push("message")!;
    expect(["inline_query", "callback_query", "my_chat_member"].map(push)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(push("message")).toBe(first + 1);
  });

  // Client.cpp need_skip_update_message:17447-17453, add_update_chat_member:17273.
  test.each(["message", "edited_message", "channel_post", "my_chat_member", "message_reaction"])(
    "a %s from a day ago uses none",
    (kind) => {
      const { api, botId, push } = busyBot();
      const first = push("message")!;
      const update = (date: number) => updateKinds[kind]!(1, date);
      expect(api.push(botId, update(startDate - 86_400))).toBeUndefined();
      expect(api.events.at(-1)).toMatchObject({ type: "rejected", reason: "too-old" });
      expect(api.push(botId, update(startDate - 86_399))).toBe(first + 1);
    },
  );

  // TQueue.cpp push:141-157: full by number, by bytes, or one that is too large.
  test("what finds no room uses none", () => {
    const { api, botId, poll, push } = busyBot();
    const text = "x".repeat(512 * 1024 - '"message":{"text":""}'.length);
    expect(api.push(botId, { message: { text: `${text}x` } })).toBeUndefined();
    const first = api.push(botId, { message: { text } })!;
    for (let count = 1; count < 256; count++) api.push(botId, { message: { text } });
    expect(push("message"), "128 MiB").toBeUndefined();
    expect(api.counters()).toMatchObject({ pushed: 256, rejected: 2 });
    poll("a", { offset: first + 1, limit: 1 });
    expect(push("message")).toBe(first + 256);
  });

  // Client.cpp process_new_message_queue:17955-17957: an edit is another update; updateDeleteMessages makes none.
  test("an edit of a message leaves its update as it is, and gets an id of its own", () => {
    const { api, botId, call, poll, push } = busyBot();
    const first = push("message")!;
    expect(push("edited_message")).toBe(first + 1);
    call("a", "deleteMessage", { chat_id: 1, message_id: 1 });
    expect(poll("a", { offset: 1 }).updateIds).toEqual([first, first + 1]);
    expect(api.state(botId).tail).toBe(first + 2);
  });

  // TQueue.cpp push:158-178, TQueue.h:26: the queue is emptied, and the next id is random.
  test("but the numbering starts anew when it is used up, and what waited is gone", () => {
    const { api, botId, poll, pushMany } = virtualBotApi({ firstUpdateId: 1_999_999_998 });
    pushMany(1);
    const [next] = pushMany(1);
    expect(next).toBe(1_999_999_998);
    expect(poll("a").updateIds).toEqual([next]);
    expect(api.state(botId).pending).toBe(1);
    expect(api.counters()).toMatchObject({ pushed: 2, dropped: 1 });
  });
});

describe("a first id above the expected one", () => {
  /** `a` has drained the queue and confirms it with its next poll. */
  function drained() {
    const bot = busyBot();
    const { poll, push } = bot;
    push("message");
    const last = push("message")!;
    poll("a", { offset: 1 });
    return { ...bot, expected: last + 1 };
  }

  // Only offsets, clearing and age remove updates: TQueue.cpp forget, clear, do_get:434 and 442, run_gc:328.
  test("is never seen by one that polls alone, whatever comes within 30 s", () => {
    const { clock, poll, push, expected } = drained();
    let offset = expected;
    for (let round = 0; round < 200; round++) {
      const pushed = Object.keys(updateKinds)
        .filter((_, index) => (round + index) % 3 === 0)
        .map(push);
      clock.advance((round * 997) % 30_000);
      const { updateIds } = poll("a", { offset, limit: 100 });
      expect(updateIds?.[0]).toBe(offset);
      expect(updateIds).toEqual(pushed);
      offset += pushed.length;
    }
  });

  // TQueue.cpp do_get:434-436: an offset forgets what lies before it at once, whoever sends it.
  test("is seen when another instance has fetched and confirmed what is missing", () => {
    const { poll, push, expected } = drained();
    push("message");
    poll("b", { offset: expected });
    push("message");
    poll("b", { offset: expected + 1 });
    expect(poll("a", { offset: expected }).updateIds).toEqual([expected + 1]);
  });

  test("is not seen when the other one has not confirmed: both get the same, and no 409", () => {
    const { api, poll, push, expected } = drained();
    push("message");
    expect(poll("b", { offset: expected, timeout: 30 }).updateIds).toEqual([expected]);
    expect(poll("a", { offset: expected, timeout: 30, limit: 50 }).updateIds).toEqual([expected]);
    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 0, zombie: 0 });
  });

  // Client.cpp:17073 and 17151-17241: what has expired is skipped on reading.
  test.each([
    ["inline_query", 30],
    ["callback_query", 150],
    ["shipping_query", 150],
    ["pre_checkout_query", 150],
    ["chosen_inline_result", 600],
  ])("comes of age alone, too: a %s after %d s", (kind, seconds) => {
    const { clock, poll, push, expected } = drained();
    push(kind);
    push("message");
    clock.advance(seconds * 1_000);
    expect(poll("a", { offset: expected }).updateIds).toEqual([expected, expected + 1]);
    clock.advance(1_000);
    expect(poll("a", { offset: expected, limit: 99 }).updateIds).toEqual([expected + 1]);
  });

  // Client.cpp do_get_updates:16326, process_set_webhook_query: drop_pending_updates.
  test.each([
    ["a negative offset", (bot: ReturnType<typeof busyBot>) => void bot.poll("b", { offset: -1 })],
    [
      "drop_pending_updates",
      (bot: ReturnType<typeof busyBot>) => {
        bot.call("b", "deleteWebhook", { drop_pending_updates: true });
        bot.push("message");
      },
    ],
  ])("comes of %s of anybody", (_name, drop) => {
    const bot = drained();
    bot.push("message");
    bot.push("message");
    drop(bot);
    const [first] = bot.poll("a", { offset: bot.expected }).updateIds ?? [];
    expect(first).toBeGreaterThan(bot.expected);
  });

  // TQueue.cpp clear:237-240: the empty event that stands for the last id counts as one.
  test("a negative offset keeps events, not ids", () => {
    const { clock, poll, push } = busyBot();
    const ids = ["message", "inline_query", "message", "message"].map(push);
    clock.advance(31_000);
    poll("a", { offset: 1 });
    expect(poll("b", { offset: -3 }).updateIds, "the expired one counts no more").toEqual([
      ids[0],
      ids[2],
      ids[3],
    ]);

    push("inline_query");
    clock.advance(31_000);
    poll("a", { offset: 2 });
    expect(poll("b", { offset: -2 }).updateIds, "the last id counts, expired as it is").toEqual([ids[3]]);
  });
});

describe("an answer that was not drained tells nothing of the next one", () => {
  test("fewer updates than there were: limit", () => {
    const { clock, poll, push } = busyBot();
    const ids = ["message", "message", "inline_query", "message"].map(push) as number[];
    expect(poll("a", { offset: 1, limit: 2 }).updateIds).toEqual(ids.slice(0, 2));
    clock.advance(31_000);
    expect(poll("a", { offset: ids[2]! }).updateIds).toEqual([ids[3]]);
  });

  // Client.cpp process_get_updates_query:15718: by the raw offset, whoever sent it.
  test("the repeat rule makes the limit 1", () => {
    const { clock, poll, push } = busyBot();
    const ids = ["message", "message"].map(push);
    poll("a", { offset: 1 });
    clock.advance(499);
    expect(poll("a", { offset: 1, limit: 100 }).updateIds).toEqual([ids[0]]);
    clock.advance(500);
    expect(poll("a", { offset: 1, limit: 100 }).updateIds).toEqual(ids);
  });

  // Client.cpp JsonUpdates:16305-16315.
  test("4 MiB cut an answer short of its limit", () => {
    const { api, botId, poll } = busyBot();
    const text = "x".repeat(500 * 1024);
    for (let count = 0; count < 10; count++) api.push(botId, { message: { text } });
    expect(poll("a", { offset: 1, limit: 100 }).updateIds).toHaveLength(8);
  });

  // Client.cpp do_get_updates:16339-16359: an offset that is far ahead forgets nothing, one a little ahead does.
  test("an offset ahead of the next id loses what comes", () => {
    const { clock, poll, push } = busyBot();
    const last = push("message")!;
    const parked = poll("a", { offset: last + 3, timeout: 30 });
    push("message");
    clock.advance(1);
    expect(parked.updateIds).toEqual([]);
  });
});

// Client.cpp add_message_update:17053 (left_time), TQueue.cpp do_get:442.
test("a message lives until a day after its own date, not after its arrival", () => {
  const { api, botId, clock, poll } = busyBot();
  const id = api.push(botId, updateKinds.message!(1, startDate - 86_000));
  clock.advance(400_000);
  expect(poll("a", { offset: 1 }).updateIds).toEqual([id]);
  clock.advance(1_000);
  expect(poll("a", { offset: 2 }).updateIds).toEqual([]);
});

// Client.cpp get_allowed_update_types:16889-16929, get_update_type_name:16827.
test.each(["stopped_message_generation", "subscription"])("%s is no type of the server's", (type) => {
  const { api, botId, poll } = virtualBotApi();
  expect(() => api.push(botId, { [type]: {} })).toThrow(TypeError);
  poll("a", { allowed_updates: JSON.stringify([type]) });
  expect(api.state(botId).allowedUpdates).toEqual(
    expect.arrayContaining(["message", "custom_event", "custom_query"]),
  );
});
