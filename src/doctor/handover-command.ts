import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../clock.js";
import type { HandoverAnswer, HandoverRequest, Holder } from "../lock/backend.js";
import { wait } from "../waiting.js";
import { type CommonArguments, handoverHelp, parseHandoverArguments } from "./arguments.js";
import { describeHolder, duration, holderName } from "./finding.js";
import { type OpenLock, openHeldLock } from "./lock-connection.js";
import type { Command } from "./run-command.js";

const lookEveryMs = 100;
/** A holder that has not answered by then does not hear. */
const answerMs = 5_000;
/** A standby, or the holder again, takes a free lock sooner, unless all are gone. */
const takeMs = 10_000;
/** For the handlers of the holder. */
const drainMs = 120_000;

interface Outcome {
  readonly code: "handed-over" | "free" | "refused" | "no-answer" | "taken-again" | "not-taken" | "draining";
  readonly message: string;
  readonly holder?: Holder | undefined;
}

/** `grammy-safe-polling handover`. */
export const handover: Command<CommonArguments> = {
  help: handoverHelp,
  parse: parseHandoverArguments,
  async run(options, env, { print, printJson }) {
    const heard: HandoverRequest[] = [];
    const { lock, key } = await openHeldLock(options, env, (_, request) => heard.push(request));
    try {
      const { code, holder, message } = await askByHand(lock, heard, systemClock);
      const known = holder ? describeHolder(holder) : null;
      if (options.json) printJson({ v: 1, key, code, holder: known, message }, 0);
      else print(message);
      if (code === "draining") return 2;
      return code === "handed-over" ? 0 : 1;
    } finally {
      await lock.close();
    }
  },
};

/** Asks once: a second copy could reach the successor. `heard` grows while we wait. */
export async function askByHand(
  lock: Pick<OpenLock, "holder" | "ask">,
  heard: readonly HandoverRequest[],
  clock: Clock,
): Promise<Outcome> {
  const now = () => clock.now().monotonicMs;
  const asked = await lock.holder();
  if (!asked) return { code: "free", message: "No instance holds the lock: there is nobody to ask." };
  const name = holderName(asked);
  const id = randomUUID();
  const { token } = asked;
  await lock.ask({ id, instance: "by hand", ...(token !== undefined && { token }) });
  const askedAt = now();
  let freeSince: number | undefined;
  for (;;) {
    const holder = await lock.holder();
    if (!holder) {
      freeSince ??= now();
      if (now() - freeSince > takeMs) {
        const message = `${name} handed over, and nobody has taken the lock for ${duration(takeMs)}. Start an instance.`;
        return { code: "not-taken", message };
      }
    } else if (freeSince !== undefined || leaseOf(holder) !== leaseOf(asked)) {
      return taken(holder, asked);
    } else {
      const answer = heard.find((request) => request.id === id)?.answer;
      const outcome = stillHeld(name, answer, now() - askedAt);
      if (outcome) return { ...outcome, holder };
    }
    await wait(clock, lookEveryMs);
  }
}

function leaseOf(holder: Holder): string {
  return `${identityOf(holder)} ${holder.token}`;
}

/** A Postgres session lock tells no owner, but the start of the session. */
function identityOf({ owner, instance, since }: Holder): string {
  return owner ?? `${instance} ${since}`;
}

function taken(holder: Holder, former: Holder): Outcome {
  const name = holderName(holder);
  if (identityOf(holder) === identityOf(former)) {
    const message = `${name} handed over, and nobody else stood by, so it has taken the lock again. Start another instance first.`;
    return { code: "taken-again", message, holder };
  }
  return {
    code: "handed-over",
    message: `Handed over: ${name} has taken it from ${holderName(former)}.`,
    holder,
  };
}

/** Undefined: it may still hand over. */
function stillHeld(name: string, answer: HandoverAnswer | undefined, waitedMs: number): Outcome | undefined {
  if (answer === "stopping") {
    const message = `${name} does not hand over for that: it is stopping, and gives the lock back when its handlers have ended.`;
    return { code: "refused", message };
  }
  if (answer === "outranked") {
    return { code: "refused", message: `${name} does not hand over for that: its priority is higher.` };
  }
  if (answer === undefined && waitedMs > answerMs) {
    const message = `${name} has not answered within ${duration(answerMs)} and still holds the lock. Release 1.0.0 knows no such requests; or it is cut off, or its lock carries none (Postgres through a transaction pooler, a file lock in a long path). Stop it.`;
    return { code: "no-answer", message };
  }
  if (waitedMs > drainMs) {
    const message = `${name} hands over, and its handlers have not ended within ${duration(drainMs)}. Look later: grammy-safe-polling holder.`;
    return { code: "draining", message };
  }
  return undefined;
}
