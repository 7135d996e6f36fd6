import { wallNow } from "../clock.js";
import type { Candidate, CandidateEvents } from "../lease/candidate.js";

/** What `lock: false` uses: granted at once, and to everyone. */
export function candidateWithoutLock(events: CandidateEvents): Candidate {
  let isHolding = false;
  const want = () => {
    isHolding = true;
    events.granted({ token: wallNow(), followsAnother: false, succession: undefined });
  };
  const giveUp = async () => {
    isHolding = false;
    return true;
  };
  return {
    want,
    trusted: () => isHolding,
    renewal: () => undefined,
    inspect: async () => undefined,
    async ask() {},
    holdBack() {},
    giveUp,
    async leave() {
      await giveUp();
    },
    async resign() {
      await giveUp();
      want();
      return true;
    },
  };
}
