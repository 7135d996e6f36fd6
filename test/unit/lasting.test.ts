import { expect, it } from "vitest";
import { Lasting, tellWhileItLasts } from "../../src/lasting.js";
import { VirtualTime } from "../tools/virtual-time.js";

const growing = [10, 30, 60, 300, 900, 3_600, 7_200, 10_800];

it("what is met again and again is told at once, at growing intervals, then every hour; its end once", async () => {
  const time = new VirtualTime();
  const trouble = new Lasting(time.clock());
  expect(trouble.over()).toBeUndefined();

  const told: (number | undefined)[] = [];
  for (let second = 0; second <= 10_800; second += 1) {
    const { isDue, forSeconds } = trouble.met();
    if (isDue) told.push(forSeconds);
    await time.advance(1_000);
  }

  expect(told).toEqual([undefined, ...growing]);
  expect(trouble.over()).toBe(10_801);
  expect(trouble.over()).toBeUndefined();
  expect(trouble.met()).toEqual({ isDue: true, forSeconds: undefined });
});

it("what gives no sign is told of at the same times, until it is over or nobody waits any more", async () => {
  for (const end of ["over", "aborted"]) {
    const time = new VirtualTime();
    const waiting = new AbortController();
    const told: number[] = [];
    const tell = (ms: number) => void told.push(ms / 1_000);
    const stop = tellWhileItLasts(time.clock(), tell, waiting.signal);
    await time.advance(10_800_000);
    expect(told).toEqual(growing);

    if (end === "over") stop();
    else waiting.abort();
    expect(time.pendingTimers).toBe(0);
  }
});
