import { describe, expect, it } from "vitest";
import { createClaimSchedule } from "../../../src/lease/claim-schedule.js";
import { VirtualTime } from "../../tools/virtual-time.js";

/** A schedule that polls every second, and the moments when it was due. `early`: how much too early timers fire. */
function start(early = 0) {
  const time = new VirtualTime();
  const clock = time.clock();
  const due: number[] = [];
  const schedule = createClaimSchedule({
    clock: { now: clock.now, setTimer: (callback, ms) => clock.setTimer(callback, Math.max(0, ms - early)) },
    random: () => 0.5,
    pollMs: 1_000,
    onDue: () => {
      due.push(Math.round(time.nowMs));
      schedule.answered();
    },
  });
  return { time, due, schedule };
}

describe("a standby's claims", () => {
  it("come once per poll, also where timers fire early", async () => {
    for (const early of [0, 0.4, 0.9]) {
      const { time, due, schedule } = start(early);
      schedule.answered();

      await time.advance(10_500);

      expect(due.length).toBe(10);
      schedule.stop();
      expect(time.pendingTimers).toBe(0);
    }
  });

  it("come at 0, 1, 2, 4, 8, 16 and 32 ms after a wake-up, then at the poll", async () => {
    const { time, due, schedule } = start();

    schedule.wake();
    await time.advance(900);

    expect(due).toEqual([0, 1, 2, 4, 8, 16, 32]);
  });

  it("come when the holder's lease ends, not before, and several times then", async () => {
    const { time, due, schedule } = start();
    schedule.answered(undefined, 500);

    await time.advance(800);

    expect(due[0]).toBeGreaterThanOrEqual(500);
    expect(due[0]).toBeLessThanOrEqual(503);
    expect(due.length).toBe(7);
  });
});
