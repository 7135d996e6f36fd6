import { expect, it } from "vitest";
import { News } from "../../../src/polling/news.js";
import { VirtualTime } from "../../tools/virtual-time.js";

/** News of a process whose turns of the event loop take these times, in milliseconds, and then none. */
function newsWithTurns(...turnsMs: number[]) {
  const time = new VirtualTime();
  let turns = 0;
  const news = new News(time.clock(), async () => {
    turns += 1;
    time.nowMs += turnsMs.shift() ?? 0;
  });
  return { isOld: () => news.isOld(time.clock().now()), news, time, turns: () => turns };
}

it("is heard in two turns by a process that runs", async () => {
  const { isOld, news, turns } = newsWithTurns(25, 25);

  await news.hear();

  expect(turns()).toBe(2);
  expect(isOld()).toBe(false);
});

it("is looked for again by a process that stood still meanwhile", async () => {
  const { news, turns } = newsWithTurns(430);

  await news.hear();

  expect(turns()).toBe(4);
});

it("is not waited for without end by a process that is starved", async () => {
  const { news, turns } = newsWithTurns(...Array<number>(10).fill(100));

  await news.hear();

  expect(turns()).toBe(4);
});

it("is old when the process may have stood still since", async () => {
  const { isOld, news, time } = newsWithTurns();
  await news.hear();

  time.nowMs += 50;
  expect(isOld()).toBe(false);
  time.nowMs += 1;
  expect(isOld()).toBe(true);
});
