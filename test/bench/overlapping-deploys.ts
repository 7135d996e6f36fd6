import { Random } from "../simulation/random.js";
import {
  type OverlappingDeployResult,
  overlappingDeploy,
  type Traffic,
  type WayToPoll,
  waysToPoll,
} from "../tools/overlapping-deploy.js";
import type { BenchArguments } from "./lock-choice.js";

const traffics: Readonly<Record<string, Traffic>> = {
  "quiet: a message every 2 s": { messageEveryMs: 2_000, handlerMs: 100 },
  "busy: 8 messages a second": { messageEveryMs: 125, handlerMs: 100 },
};

const ours = waysToPoll.find(({ name }) => name === "grammy-safe-polling");
/** Ours is played once more with an old instance that is no elder yet: what that costs is told, not promised. */
const young = { name: "the same, 20 s after the last", oldForMs: 20_000 };

/** What a deploy without a lock must not exceed: what the library promises its users. */
const most = { live409s: 2, answeredTwice: 5 };

/** Deploys every way with every traffic, prints the figures, and tells whether the library kept its promise. */
export async function deploysWithoutLock({
  count,
  overlapSeconds,
  latencyMs,
}: BenchArguments): Promise<boolean> {
  console.log(`${count} deploys each on virtual time, ${overlapSeconds} s side by side, handlers of 100 ms,`);
  console.log(`${latencyMs} ms to Telegram. A process that ends is not started again.`);
  let kept = 0;
  for (const [name, traffic] of Object.entries(traffics)) {
    const rows: Record<string, object> = {};
    const play = async (way: WayToPoll, oldForMs?: number) => {
      const results: OverlappingDeployResult[] = [];
      for (let seed = 1; seed <= count; seed += 1) {
        const random = new Random(seed);
        const overlapMs = overlapSeconds * 1_000;
        const deploy = { way, traffic, oldForMs, overlapMs, latencyMs, random: () => random.next() };
        results.push(await overlappingDeploy(deploy));
      }
      return results;
    };
    for (const way of waysToPoll) {
      const results = await play(way);
      rows[way.name] = row(results);
      if (way !== ours) continue;
      kept += results.filter(isKept).length;
      rows[young.name] = row(await play(way, young.oldForMs));
    }
    console.log(`\n${name}`);
    console.table(rows);
  }
  const all = count * Object.keys(traffics).length;
  console.log(
    `nothing unanswered, the new instance polls, at most ${most.live409s} live 409s and ${most.answeredTwice} answered twice: ` +
      `grammy-safe-polling in ${kept} of ${all} deploys`,
  );
  return kept === all;
}

function isKept({ live409s, answeredTwice, unanswered, newPolls }: OverlappingDeployResult): boolean {
  return live409s <= most.live409s && answeredTwice <= most.answeredTwice && unanswered === 0 && newPolls;
}

function row(results: readonly OverlappingDeployResult[]): object {
  const range = (of: (result: OverlappingDeployResult) => number) => {
    const values = results.map(of);
    const [least, greatest] = [Math.min(...values), Math.max(...values)];
    return least === greatest ? `${least}` : `${least} to ${greatest}`;
  };
  return {
    "live 409s": range(({ live409s }) => live409s),
    "answered twice": range(({ answeredTwice }) => answeredTwice),
    unanswered: range(({ unanswered }) => unanswered),
    "new instance polls": `${results.filter(({ newPolls }) => newPolls).length} of ${results.length}`,
  };
}
