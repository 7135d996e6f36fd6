import { type Act, type ActKind, drawPlot, type Plot } from "./plot.js";
import type { Random } from "./random.js";

/** Stories whose acts follow one another at the right moments, which chance alone would bring together too rarely. */
export function drawAimedPlot(random: Random): Plot {
  const plot = drawPlot(random.fork());
  const isTold = { ...plot, bots: 1, wakeLoss: 0, leading: [], hasLastingOutage: false };
  const asks = { ...plot.asks, priorities: plot.asks.priorities.map(() => 0), isSettled: false };
  const habits = { ...plot.habits, blocksMs: [0], throwRate: 0, replyRate: 0, stopRate: 0, resignRate: 0 };
  const aimed = { ...isTold, asks, habits, genre: "aimed", startsMs: [0, random.between(50, 100)] };
  return random.chance(0.5) ? afterALostPoll(aimed, random) : besideAHungHandler(aimed, random);
}

/** The poll that tells what is done is lost; later than 3 s after it, Telegram can be reached and its instance stops. */
function afterALostPoll(plot: Plot, random: Random): Plot {
  const handlerMs = random.between(200, 600);
  const updateMs = random.between(1_500, 3_000);
  const cutMs = updateMs + random.between(80, handlerMs / 2);
  const stopMs = updateMs + handlerMs + random.between(3_200, 9_000);
  return {
    ...plot,
    habits: { ...plot.habits, durationsMs: [handlerMs * 2], hangRate: 0 },
    options: { ...plot.options, concurrency: 1, polling: { timeoutSeconds: 30 } },
    telegramDelay: { leastMs: 1, mostMs: 2 },
    updatesMs: [updateMs],
    acts: [
      act(cutMs, "cut off from telegram", handlerMs * 2 + random.between(500, 2_500)),
      act(stopMs, random.pick(["stop", "resign"])),
    ],
    healedMs: stopMs + 5_000,
  };
}

/**
 * A handler hangs, its instance resigns and another one handles the update; then the first holds the lease again,
 * handles more, and gives it back.
 */
function besideAHungHandler(plot: Plot, random: Random): Plot {
  const { leaseMs } = plot;
  const nextMs = () => leaseMs + random.between(1_500, 3_000);
  const onceMs = random.between(1_000, 2_000);
  const twiceMs = onceMs + nextMs();
  const lastMs = twiceMs + nextMs();
  return {
    ...plot,
    habits: { ...plot.habits, durationsMs: [0, 50], hangRate: 0.25 },
    options: {
      ...plot.options,
      concurrency: random.pick([2, 5, 50]),
      confirm: "handled",
      drainTimeoutMs: 500,
    },
    updatesMs: [onceMs - 300, twiceMs + 1_000, twiceMs + 1_200, lastMs - 300],
    acts: [act(onceMs, "resign"), act(twiceMs, "resign"), act(lastMs, random.pick(["stop", "resign"]))],
    healedMs: lastMs + leaseMs + 2_000,
  };
}

/** To whoever holds the lease. */
function act(atMs: number, kind: ActKind, durationMs = 0): Act {
  return { atMs, kind, durationMs, aim: 0 };
}
