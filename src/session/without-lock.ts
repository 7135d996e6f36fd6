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
  };
  return {
    want,
    trusted: () => isHolding,
    renewal: () => undefined,
    inspect: async () => undefined,
    giveUp,
    leave: giveUp,
    async resign() {
      await giveUp();
      want();
    },
  };
}
