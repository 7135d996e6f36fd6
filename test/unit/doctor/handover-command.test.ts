import { beforeEach, describe, expect, it } from "vitest";
import { askByHand } from "../../../src/doctor/handover-command.js";
import type { HandoverAnswer, HandoverRequest, Holder } from "../../../src/lock/backend.js";
import { VirtualTime } from "../../tools/virtual-time.js";

const web1: Holder = { owner: "web-1:x", instance: "web-1", token: 7 };
const web2: Holder = { owner: "web-2:y", instance: "web-2", token: 8 };

let time: VirtualTime;
let asked: HandoverRequest[];

beforeEach(() => {
  time = new VirtualTime();
  asked = [];
});

/** What the command says when the holder answers so, and the lock is held like this after the request. */
async function outcome(answer: HandoverAnswer | undefined, holderAfter: (ms: number) => Holder | undefined) {
  const heard: HandoverRequest[] = [];
  let askedAt: number | undefined;
  const lock = {
    holder: async () => (askedAt === undefined ? web1 : holderAfter(time.nowMs - askedAt)),
    ask: async (request: HandoverRequest) => {
      asked.push(request);
      askedAt = time.nowMs;
      if (answer) heard.push({ ...request, instance: "web-1", answer });
    },
  };
  const asking = askByHand(lock, heard, time.clock());
  await time.advance(130_000);
  return await asking;
}

describe("handover by hand", () => {
  it("asks once, for the lease that is held at that moment", async () => {
    await outcome("hands-over", () => web1);

    expect(asked).toEqual([{ id: expect.any(String), instance: "by hand", token: 7 }]);
  });

  it("waits while the holder's handlers run, and tells who has taken it then", async () => {
    const { code, holder } = await outcome("hands-over", (ms) => (ms < 60_000 ? web1 : web2));

    expect({ code, holder }).toEqual({ code: "handed-over", holder: web2 });
  });

  it("says that the holder hands over, when its handlers have not ended within two minutes", async () => {
    const { code, holder, message } = await outcome("hands-over", () => web1);

    expect({ code, holder }).toEqual({ code: "draining", holder: web1 });
    expect(message).toContain("its handlers have not ended within 2 minutes");
  });

  it("says that nobody has taken the lock that was handed over, after ten seconds", async () => {
    const { code, holder, message } = await outcome("hands-over", (ms) => (ms < 1_000 ? web1 : undefined));

    expect({ code, holder }).toEqual({ code: "not-taken", holder: undefined });
    expect(message).toBe(
      "web-1 handed over, and nobody has taken the lock for 10 seconds. Start an instance.",
    );
  });

  it("waits up to ten seconds for somebody to take it", async () => {
    const { code } = await outcome("hands-over", (ms) => (ms < 9_000 ? undefined : web2));

    expect(code).toBe("handed-over");
  });

  it("says that the former holder has taken it again", async () => {
    const again = { ...web1, token: 9 };
    const { code, holder } = await outcome("hands-over", (ms) => (ms < 1_500 ? undefined : again));

    expect({ code, holder }).toEqual({ code: "taken-again", holder: again });
  });

  it.each([
    ["outranked", "its priority is higher"],
    ["stopping", "it is stopping"],
  ] as const)("says why the holder refuses: %s", async (answer, why) => {
    const { code, holder, message } = await outcome(answer, () => web1);

    expect({ code, holder }).toEqual({ code: "refused", holder: web1 });
    expect(message).toContain(why);
  });

  it("hears no answer to somebody else's request", async () => {
    const heard = [{ id: "other", instance: "web-1", answer: "outranked" }] as const;
    const asking = askByHand({ holder: async () => web1, ask: async () => {} }, heard, time.clock());
    await time.advance(6_000);

    expect((await asking).code).toBe("no-answer");
  });
});
