import { describe, expect, test } from "vitest";
import {
  answersTo,
  deliveriesOf,
  pollerTimeline,
  pollOverlaps,
  slotTimeline,
} from "../../../src/testing/bot-api/journal-queries.js";
import { virtualBotApi } from "./virtual-bot-api.js";

const wallStart = Date.UTC(2026, 0, 1);

describe("the journal", () => {
  test("tells the life of a poll, with both times", () => {
    const { api, botId, clock, poll, pushMany } = virtualBotApi();
    clock.advance(10);
    poll("a", { offset: 3, timeout: 300, limit: 500 });
    clock.advance(20);
    const [id] = pushMany(1);
    clock.advance(1);

    const stamp = { botId, requestId: 1, instance: "a" };
    expect(api.events).toMatchObject([
      { ...stamp, type: "request", method: "getupdates", sequence: 0, at: 10, wallAt: wallStart + 10 },
      { ...stamp, type: "poll", offset: 3, timeoutSeconds: 50, limit: 100 },
      { ...stamp, type: "parked", until: 50_010 },
      { botId, type: "pushed", updateId: id, updateType: "message", at: 30 },
      { ...stamp, type: "answered", status: 200, updateIds: [id], arrivedAt: 10, at: 31, sequence: 4 },
    ]);
    expect(api.events[4]).not.toHaveProperty("zombie");
  });

  test("the effective timeout and limit are those after the repeat rule", () => {
    const { api, poll } = virtualBotApi();
    poll("a", { offset: 3 });
    poll("b", { offset: 3 });
    const polls = api.events.filter((event) => event.type === "poll");
    expect(polls).toMatchObject([
      { timeoutSeconds: 0, limit: 100 },
      { timeoutSeconds: 3, limit: 1 },
    ]);
  });

  test("a conflict is told when it happens, and again with its answer", () => {
    const { api, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 });
    poll("b", { timeout: 30 });
    poll("c", { timeout: 30 });
    clock.advance(3_000);
    const told = api.events.filter((event) => event.type === "conflict");
    expect(told).toMatchObject([
      { instance: "a", conflict: "other-poller", delayMs: 0, at: 0 },
      { instance: "b", conflict: "other-poller", delayMs: 3_000, at: 0 },
    ]);
    const answers = api.events.filter((event) => event.type === "answered");
    expect(answers).toMatchObject([
      { instance: "a", status: 409, conflict: "other-poller", at: 0 },
      { instance: "b", status: 409, conflict: "other-poller", at: 3_000 },
    ]);
  });

  test("removed updates are told with those that are lost", () => {
    const { api, poll, pushMany } = virtualBotApi();
    const ids = pushMany(3);
    poll("a", { offset: 1, limit: 1 });
    poll("a", { offset: ids[2]! });
    expect(api.events.find((event) => event.type === "removed")).toMatchObject({
      reason: "confirmed",
      updateIds: ids.slice(0, 2),
      lostIds: [ids[1]],
    });
  });

  test("keeps only so many events where told so, and none at all; counters and listeners miss nothing", () => {
    for (const journal of [10, false]) {
      const { api, pushMany } = virtualBotApi({ journal });
      let heard = 0;
      const unsubscribe = api.onEvent(() => heard++);
      const last = pushMany(1_000).at(-1);
      unsubscribe();
      pushMany(1);

      expect(heard).toBe(1_000);
      expect(api.counters().pushed).toBe(1_001);
      expect(api.events.length).toBeGreaterThanOrEqual(journal === false ? 0 : 10);
      expect(api.events.length).toBeLessThanOrEqual(journal === false ? 0 : 20);
      if (journal !== false) expect(api.events.at(-2)).toMatchObject({ type: "pushed", updateId: last });
    }
  });

  test("waitForEvent gives a past event, a future one, and gives up with the last events in its message", async () => {
    const { api, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 });
    const past = await api.waitForEvent("parked");
    expect(past.instance).toBe("a");

    const future = api.waitForEvent("parked", ({ instance }) => instance === "b");
    const next = api.waitForEvent("parked", undefined, { after: past.sequence });
    const never = api.waitForEvent("sent", undefined, { timeoutMs: 100 });
    poll("b", { timeout: 30 });
    expect(await future).toMatchObject({ instance: "b" });
    expect(await next).toMatchObject({ instance: "b" });
    clock.advance(100);
    await expect(never).rejects.toThrow(/No such "sent" event within 100 ms.*"instance":"b"/);
  });
});

describe("zombies", () => {
  test("a poll whose client has gone is one when it is answered, and delivers nothing", () => {
    const { api, clock, poll, pushMany } = virtualBotApi();
    poll("a", { timeout: 30 }).disconnect();
    const [id] = pushMany(1);
    clock.advance(1);

    expect(api.events.at(-1)).toMatchObject({ type: "answered", updateIds: [id], zombie: "disconnected" });
    expect(api.counters()).toMatchObject({ zombieAnswers: 1, delivered: 0, deliveries: 0 });
    poll("b", { offset: id! + 1 });
    expect(api.counters()).toMatchObject({ confirmed: 1, lost: 1 });
  });

  test("a client that goes after its answer changes nothing", () => {
    const { api, poll, pushMany } = virtualBotApi();
    pushMany(1);
    poll("a").disconnect();
    expect(api.counters()).toMatchObject({ zombieAnswers: 0, delivered: 1 });
    expect(api.events.some((event) => event.type === "disconnected")).toBe(false);
  });

  test("a transport may know at the moment of writing", () => {
    const { api, token } = virtualBotApi();
    let isConnected = true;
    const call = { token, method: "getUpdates", instance: "a", isConnected: () => isConnected };
    api.call({ ...call, args: new Map([["timeout", "30"]]) }, () => {});
    isConnected = false;
    api.shutDown();
    expect(api.counters()).toMatchObject({ zombieAnswers: 1 });
  });

  test("a late 409 of a client that has gone counts as a zombie's, one that stayed as live", () => {
    const { api, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 });
    const b = poll("b", { timeout: 30 });
    poll("c", { timeout: 30 });
    clock.advance(1_000);
    b.disconnect();
    clock.advance(2_000);
    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 1, zombie: 1 });
  });

  test("what waits when its lease ends is a zombie's, what is sent afterwards is not", () => {
    const { api, botId, clock, poll, pushMany } = virtualBotApi();
    const frozen = poll("frozen", { timeout: 30 });
    clock.advance(100);
    api.markLeaseEnded("frozen");
    poll("next", { timeout: 30 });

    expect(frozen.status).toBe(409);
    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 0, zombie: 1 });
    expect(api.events.findLast((event) => event.type === "answered")).toMatchObject({
      zombie: "lease-ended",
    });

    clock.advance(5_000);
    poll("frozen", { timeout: 30 });
    poll("next", { timeout: 30 });
    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 1, zombie: 1 });
    pushMany(1);
    clock.advance(1);
    expect(api.state(botId).parked).toBeUndefined();
    expect(api.counters().delivered).toBe(1);
  });

  test("a lease that ended in the past takes back what was counted as live since", () => {
    const { api, clock, poll, pushMany } = virtualBotApi();
    const [before] = pushMany(1);
    poll("frozen", { offset: 0 }); // answered before the end: stays live
    const frozen = poll("frozen", { offset: before! + 1, timeout: 30 });
    clock.advance(1_500);
    const ids = pushMany(2);
    clock.advance(1);
    expect(frozen.updateIds).toEqual(ids);
    poll("next", { offset: ids[0]! });
    expect(api.counters()).toMatchObject({ delivered: 3, deliveries: 5, duplicates: 2, zombieAnswers: 0 });

    api.markLeaseEnded("frozen", wallStart + 1_000);

    expect(api.counters()).toMatchObject({
      delivered: 3,
      deliveries: 3,
      duplicates: 0,
      lost: 0,
      zombieAnswers: 1,
    });
    expect(deliveriesOf(api.events, 7_000_000_001).get(ids[0]!)).toEqual(new Map([["next", 1]]));
  });

  test("what was sent after a lease ended is not a zombie's, however late that is told", () => {
    const { api, clock, poll, pushMany } = virtualBotApi();
    clock.advance(1_000);
    poll("unleashed", { timeout: 30 });
    const [id] = pushMany(1);
    clock.advance(1);
    poll("unleashed", { offset: id! + 1, timeout: 30 });
    clock.advance(500);

    api.markLeaseEnded("unleashed", wallStart + 999);
    poll("next", { timeout: 30 });

    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 1, zombie: 0 });
    expect(api.counters()).toMatchObject({ delivered: 1, zombieAnswers: 0 });
    expect(pollOverlaps(api.events)).toHaveLength(1);
  });

  test("an update that only a frozen client was sent is lost once it is removed", () => {
    const { api, clock, poll, pushMany } = virtualBotApi();
    poll("frozen", { timeout: 30 });
    clock.advance(1_000);
    const ids = pushMany(1);
    clock.advance(1);
    poll("next", { offset: ids[0]! + 1 });
    expect(api.counters()).toMatchObject({ delivered: 1, confirmed: 1, lost: 0 });

    api.markLeaseEnded("frozen", wallStart + 500);

    expect(api.counters()).toMatchObject({ delivered: 0, confirmed: 1, lost: 1 });
  });

  test("a 409 that was counted as live moves to the zombies", () => {
    const { api, clock, poll } = virtualBotApi();
    poll("frozen", { timeout: 30 });
    clock.advance(1_000);
    poll("next", { timeout: 30 });
    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 1, zombie: 0 });

    api.markLeaseEnded("frozen", wallStart + 999);

    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 0, zombie: 1 });
    expect(api.counters().zombieAnswers).toBe(1);
  });
});

describe("counters", () => {
  test("every update ends up in exactly one place", () => {
    const { api, botId, clock, call, poll, pushMany } = virtualBotApi();
    const ids = pushMany(4);
    api.push(botId, { inline_query: {} });
    api.push(botId, { message_reaction: {} });
    poll("a", { offset: ids[2]! });
    clock.advance(40_000);
    poll("a", { offset: ids[2]! });
    expect(api.counters()).toMatchObject({
      pushed: 5,
      rejected: 1,
      confirmed: 2,
      expired: 1,
      pending: 2,
      dropped: 0,
    });
    call("a", "deleteWebhook", { drop_pending_updates: true });
    expect(api.counters()).toMatchObject({ pushed: 5, confirmed: 2, expired: 1, pending: 0, dropped: 2 });
  });

  test("polls, changes of the poller and duplicates", () => {
    const { api, poll, pushMany } = virtualBotApi();
    pushMany(2);
    poll("a", { offset: 0 });
    poll("a", { offset: 1 });
    poll("b", { offset: 2 });
    poll("a", { offset: 3, limit: 1 });
    expect(api.counters()).toMatchObject({
      polls: 4,
      pollerChanges: 2,
      delivered: 2,
      deliveries: 7,
      duplicates: 5,
    });
  });
});

describe("questions to the journal", () => {
  test("who got which update how often", () => {
    const { api, botId, poll, pushMany } = virtualBotApi();
    const ids = pushMany(2);
    poll("a", { offset: 0 });
    poll("b", { offset: 1, limit: 1 });
    poll("a", { offset: 2, limit: 1 });
    expect(deliveriesOf(api.events, botId)).toEqual(
      new Map([
        [ids[0], new Map([["a", 2]]).set("b", 1)],
        [ids[1], new Map([["a", 1]])],
      ]),
    );
  });

  test("which messages answer an update", () => {
    const { api, botId, call, pushMany } = virtualBotApi();
    const ids = pushMany(2);
    call("a", "sendMessage", { chat_id: 1, text: `re ${ids[0]}` });
    call("b", "sendMessage", { chat_id: 1, text: `re ${ids[0]}` });
    const answers = answersTo(api.events, botId);
    expect(answers.get(ids[0]!)?.map(({ instance }) => instance)).toEqual(["a", "b"]);
    expect(answers.has(ids[1]!)).toBe(false);
  });

  test("who polled when, and whose poll had the slot", () => {
    const { api, botId, clock, poll } = virtualBotApi();
    poll("a", { timeout: 5 });
    clock.advance(1_000);
    poll("b", { timeout: 5 });
    clock.advance(6_000);
    poll("b", { timeout: 5 });

    expect(pollerTimeline(api.events, botId)).toEqual([
      { instance: "a", from: 0, until: 1_000 },
      { instance: "b", from: 1_000, until: Number.POSITIVE_INFINITY },
    ]);
    expect(slotTimeline(api.events, botId)).toEqual([
      { instance: "a", from: 0, until: 1_000 },
      { instance: "b", from: 1_000, until: 6_000 },
      { instance: "b", from: 7_000, until: Number.POSITIVE_INFINITY },
    ]);
  });

  test("a poll that was displaced and waits for its late 409 no longer has the slot", () => {
    const { api, botId, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 });
    poll("b", { timeout: 30 });
    clock.advance(1_000);
    poll("c", { timeout: 30 });
    clock.advance(5_000);
    expect(slotTimeline(api.events, botId)[1]).toEqual({ instance: "b", from: 0, until: 1_000 });
  });
});

describe("two pollers at once", () => {
  test("are found where the second one takes the slot, even though the first is told at once", () => {
    const { api, botId, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 });
    clock.advance(1_000);
    poll("b", { timeout: 30 });

    expect(pollOverlaps(api.events)).toEqual([
      {
        first: { botId, requestId: 1, instance: "a", from: 0, until: 1_000 },
        second: { botId, requestId: 2, instance: "b", from: 1_000, until: Number.POSITIVE_INFINITY },
        overlapMs: 0,
      },
    ]);
  });

  test("are found where there is no 409", () => {
    const { api, botId, clock, poll, pushMany } = virtualBotApi();
    poll("a", { timeout: 30 });
    pushMany(1);
    expect(poll("b", { timeout: 30 }).updateIds).toHaveLength(1);
    clock.advance(1);

    expect(api.counters(botId).conflicts["other-poller"]).toEqual({ live: 0, zombie: 0 });
    expect(pollOverlaps(api.events)).toMatchObject([{ first: { instance: "a" }, second: { instance: "b" } }]);
  });

  test("an overlap has its length, and ends where a client goes or its lease does", () => {
    const { api, clock, poll } = virtualBotApi();
    api.injectFault({ kind: "delay-answer", delayMs: 10_000, times: null });
    poll("a", { offset: 0 });
    clock.advance(1_000);
    const b = poll("b", { offset: 1 });
    clock.advance(300);
    poll("c", { offset: 2 });
    b.disconnect();
    clock.advance(200);
    api.markLeaseEnded("a");
    clock.advance(10_000);

    const found = pollOverlaps(api.events).map(({ first, second, overlapMs }) => [
      first.instance,
      second.instance,
      overlapMs,
    ]);
    expect(found).toEqual([
      ["a", "b", 300],
      ["a", "c", 200],
      ["b", "c", 0],
    ]);
  });

  test("a successor that polls after its predecessor went, or after the end of its lease, is alone", () => {
    const { api, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 }).disconnect();
    poll("frozen", { timeout: 30 });
    clock.advance(1_000);
    poll("next", { timeout: 30 });
    expect(pollOverlaps(api.events)).toHaveLength(1);

    api.markLeaseEnded("frozen", wallStart + 1_000);

    expect(pollOverlaps(api.events)).toEqual([]);
  });

  test("two bots, or two polls of one instance, do not overlap", () => {
    const { api, call, clock, poll } = virtualBotApi();
    const other = api.addBot();
    poll("a", { timeout: 30 });
    call("b", "getUpdates", { timeout: 30 }, other.token);
    poll("a", { offset: 1, timeout: 30 });
    clock.advance(60_000);
    expect(pollOverlaps(api.events)).toEqual([]);
  });
});
