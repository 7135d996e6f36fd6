import { describe, expect, test } from "vitest";
import { virtualBotApi } from "./virtual-bot-api.js";

const terminated =
  "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";

/** The acceptance checks (a) to (h) of the emulator's specification; times in milliseconds. */
describe("acceptance", () => {
  test("(a) A waits, B polls an idle bot: A gets a 409 at once, B waits", () => {
    const { api, botId, poll } = virtualBotApi();
    const a = poll("a", { timeout: 30 });
    expect(a.status).toBeUndefined();

    const b = poll("b", { timeout: 30 });

    expect(a).toMatchObject({ status: 409, description: terminated, answeredAt: 0 });
    expect(b.status).toBeUndefined();
    expect(api.state(botId).parked?.instance).toBe("b");
  });

  test("(b) A polls again within 3 s: B's 409 comes 3.0 s after it was displaced", () => {
    const { api, botId, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 });
    const b = poll("b", { timeout: 30 });
    clock.advance(1_000);

    poll("a", { timeout: 30 });

    expect(api.state(botId).parked?.instance).toBe("a");
    clock.advance(2_999);
    expect(b.status).toBeUndefined();
    clock.advance(1);
    expect(b).toMatchObject({ status: 409, description: terminated, answeredAt: 4_000 });
  });

  test("(c) a probe with another offset disturbs nobody; a second one 1 s later waits 3 s and displaces A", () => {
    const { clock, poll } = virtualBotApi();
    const a = poll("a", { offset: 5_000_000, timeout: 30 });

    const probe = poll("probe", { offset: 0, timeout: 0 });
    expect(probe).toMatchObject({ status: 200, result: [], answeredAt: 0 });
    expect(a.status).toBeUndefined();

    clock.advance(1_000);
    const second = poll("probe", { offset: 0, timeout: 0 });
    expect(a).toMatchObject({ status: 409, answeredAt: 1_000 });
    clock.advance(10_000);
    expect(second).toMatchObject({ status: 200, result: [], answeredAt: 4_000 });
  });

  test("(d) A goes away, B polls: nobody alive sees a 409", () => {
    const { api, clock, poll } = virtualBotApi();
    poll("a", { timeout: 30 }).disconnect();

    const b = poll("b", { timeout: 30 });

    clock.advance(29_999);
    expect(b.status).toBeUndefined();
    clock.advance(1);
    expect(b).toMatchObject({ status: 200, result: [] });
    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 0, zombie: 1 });
  });

  test("(e) B polls between two polls of a busy A: B gets the same updates, and no 409", () => {
    const { api, poll, pushMany } = virtualBotApi();
    const ids = pushMany(5);
    const a = poll("a", { offset: 1, timeout: 30 });

    const b = poll("b", { offset: 0, timeout: 30 });

    expect(a).toMatchObject({ status: 200, updateIds: ids });
    expect(b).toMatchObject({ status: 200, updateIds: ids });
    expect(api.counters()).toMatchObject({ duplicates: 5, lost: 0 });
    expect(api.counters().conflicts["other-poller"]).toEqual({ live: 0, zombie: 0 });
  });

  test("(f) offset tail + 5, then two pushes: both are dropped, and the poll is answered early with nothing", () => {
    const { api, botId, clock, poll, pushMany } = virtualBotApi();
    pushMany(1);
    const { tail } = api.state(botId);
    const ahead = poll("a", { offset: tail + 5, timeout: 30 });

    pushMany(2);
    clock.advance(1);

    expect(ahead).toMatchObject({ status: 200, result: [], answeredAt: 1 });
    expect(api.state(botId).pending).toBe(0);
    expect(api.counters()).toMatchObject({ confirmed: 3, lost: 3 });
  });

  test("(g) offset tail + 50 counts as 0: nothing is dropped", () => {
    const { api, botId, poll, pushMany } = virtualBotApi();
    const ids = pushMany(3);

    const far = poll("a", { offset: api.state(botId).tail + 50, timeout: 30 });

    expect(far.updateIds).toEqual(ids);
    expect(api.state(botId).pending).toBe(3);
  });

  test("(g) offset tail + 11 waits as too far ahead, but is close enough after one push: that update is dropped", () => {
    const { api, botId, clock, poll, pushMany } = virtualBotApi();
    const [first] = pushMany(1);
    poll("a", { offset: first! + 1 });
    const far = poll("a", { offset: api.state(botId).tail + 11, timeout: 30 });
    expect(far.status).toBeUndefined();

    pushMany(1);
    clock.advance(1);

    expect(far).toMatchObject({ status: 200, result: [] });
    expect(api.state(botId).pending).toBe(0);
  });

  test("(h) a stop-call with the offset of a poll 2 s before waits 3 s, and gets its 409 late when B comes", () => {
    const { clock, poll } = virtualBotApi();
    const offset = 5_000_000;
    poll("a", { offset, timeout: 30 }).disconnect();
    clock.advance(2_000);

    const stopCall = poll("a", { offset, limit: 1, timeout: 0 });
    clock.advance(2_900);
    expect(stopCall.status).toBeUndefined();
    const b = poll("b", { offset: 0, timeout: 30 });

    clock.advance(2_999);
    expect(stopCall.status).toBeUndefined();
    clock.advance(1);
    expect(stopCall).toMatchObject({ status: 409, description: terminated, answeredAt: 7_900 });
    expect(b.status).toBeUndefined();
  });
});
