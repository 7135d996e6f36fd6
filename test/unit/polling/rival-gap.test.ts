import { describe, expect, it } from "vitest";
import type { Moment } from "../../../src/clock.js";
import { type AnsweredPoll, RivalGap } from "../../../src/polling/unseen-poller.js";

const at = (ms: number): Moment => ({ monotonicMs: ms, wallMs: 1_700_000_000_000 + ms });

/** A poll that was sent at `sent` and answered 100 ms later, with an offset of its own, unless told otherwise. */
function poll(sent: number, updateIds: number[], changes: Partial<AnsweredPoll> = {}): AnsweredPoll {
  return {
    sentAt: at(sent),
    answeredAt: at(sent + 100),
    offset: sent,
    limit: 100,
    updates: updateIds.map((update_id) => ({ update_id })),
    ...changes,
  };
}

/** What the polls of a story are said to show, one after the other. */
const seen = (polls: readonly AnsweredPoll[], hasInlineQueries = true) => {
  const gap = new RivalGap(hasInlineQueries);
  gap.sees(poll(-1_000, []));
  return polls.map((each) => gap.sees(each));
};

describe("a rival", () => {
  it("is seen by two gaps within ten seconds", () => {
    expect(seen([poll(0, [5]), poll(200, [7]), poll(400, [9])])).toEqual([false, false, true]);
  });

  it("is seen as often as it goes on", () => {
    expect(seen([poll(0, [5]), poll(200, [7]), poll(400, [9]), poll(600, [11])])).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });

  it("is seen though answers without an update lie between", () => {
    expect(seen([poll(0, [5]), poll(200, [7]), poll(400, []), poll(600, [9])]).at(-1)).toBe(true);
  });
});

describe("no rival is seen", () => {
  it("without gaps", () => {
    expect(seen([poll(0, [5, 6]), poll(200, [7]), poll(400, [8, 9])])).not.toContain(true);
  });

  it("by one gap alone, or by two that lie more than ten seconds apart (f)", () => {
    expect(seen([poll(0, [5]), poll(200, [7])])).not.toContain(true);
    expect(seen([poll(0, [5]), poll(200, [7]), poll(10_300, []), poll(10_500, [9])])).not.toContain(true);
  });

  it("by a gap inside an answer: an update that failed or was filtered takes no id, one that expired does (e)", () => {
    expect(seen([poll(0, [5]), poll(200, [6, 9]), poll(400, [10, 13])])).not.toContain(true);
  });

  it("after an answer that was as full as its limit (a)", () => {
    const full = { limit: 1 };
    expect(seen([poll(0, [5], full), poll(200, [7], full), poll(400, [9], full)])).not.toContain(true);
  });

  it("after an answer that the server limits because its offset came again (a)", () => {
    const same = { offset: 1 };
    const repeated = [poll(0, [5], same), poll(200, [7], same), poll(400, [9], same), poll(600, [11], same)];
    expect(seen(repeated)).not.toContain(true);
  });

  it("after an answer that may have been cut at 4 MiB (a)", () => {
    const large = (sent: number, update_id: number) =>
      poll(sent, [], { updates: [{ update_id, text: "ж".repeat(700_000) } as { update_id: number }] });
    expect(seen([large(0, 5), large(200, 7), poll(400, [9])])).not.toContain(true);
  });

  it("where inline queries could have expired between the two reads of the queue (b)", () => {
    const late = [poll(0, [5]), poll(25_000, [7]), poll(25_200, [9])];
    expect(seen(late)).not.toContain(true);
    expect(seen(late, false)).toContain(true);
    expect(seen([poll(0, [5]), poll(150_000, [7]), poll(150_200, [9])], false)).not.toContain(true);
  });

  it("after a standstill, which the wall clock tells where the other stood still too (b)", () => {
    const slept = poll(200, [7], { answeredAt: { monotonicMs: 300, wallMs: at(30_000).wallMs } });
    expect(seen([poll(0, [5]), slept, poll(400, [9])])).not.toContain(true);
  });

  it("where the updates may be numbered anew: after six days without one, and by a jump of more than 10 000 (c)", () => {
    const days = 6 * 24 * 60 * 60 * 1000;
    expect(
      seen([poll(0, [5]), poll(days - 200, []), poll(days, [700]), poll(days + 200, [702])], false),
    ).not.toContain(true);
    expect(seen([poll(0, [5]), poll(200, [20_000]), poll(400, [20_002])])).not.toContain(true);
  });

  it("by ids that are lower than before (c)", () => {
    expect(seen([poll(0, [500]), poll(200, [5]), poll(400, [7])])).not.toContain(true);
  });

  it("by the first poll of a lease, or the first after something that may have taken updates (d)", () => {
    const gap = new RivalGap(true);
    const answers = [[5], [7], [9], [11]].map((ids, index) => {
      gap.forget();
      return gap.sees(poll(index * 200, ids));
    });
    expect(answers).not.toContain(true);
  });

  it("where nobody knows whether the offset came again: the poll before failed (a)", () => {
    const gap = new RivalGap(true);
    const answers = [[5], [7], [9], [11], [13]].map((ids, index) => {
      if (index % 2 === 0) gap.forget();
      return gap.sees(poll(index * 200, ids));
    });
    expect(answers).not.toContain(true);
  });

  it("by what comes again below the highest id ever seen: an offset that a slow handler holds back (e)", () => {
    const held = [
      poll(0, [5, 6, 7]),
      poll(600, [5]),
      poll(1_200, [8, 9]),
      poll(1_800, [8]),
      poll(2_400, [10]),
    ];
    expect(seen(held)).not.toContain(true);
  });
});
