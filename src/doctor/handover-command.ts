import { randomUUID } from "node:crypto";
import { type Clock, systemClock } from "../clock.js";
import type { HandoverAnswer, HandoverRequest, Holder } from "../lock/backend.js";
import { wait } from "../waiting.js";
import { handoverHelp, parseHandoverArguments } from "./arguments.js";
import { describeHolder } from "./command.js";
import { duration, holderName } from "./finding.js";
import type { OpenLock } from "./lock-connection.js";
import { openHeldLock } from "./open-held-lock.js";
import { type Environment, runCommand, type Terminal } from "./run-command.js";

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
  /** Who holds the lock now. */
  readonly holder?: Holder | undefined;
}

/** Runs `grammy-safe-polling handover`; resolves with the exit code and never rejects. */
export function handover(
  given: readonly string[],
  environment: Environment,
  anyTerminal: Terminal,
): Promise<number> {
  return runCommand(given, environment, anyTerminal, async (terminal) => {
    const options = parseHandoverArguments(given);
    if (options.help) {
      terminal.print(handoverHelp);
      return 0;
    }
    const heard: HandoverRequest[] = [];
    const { lock, key } = await openHeldLock(options, environment, (_, request) => heard.push(request));
    try {
      const { code, holder, message } = await askByHand(lock, heard, systemClock);
      const known = holder ? describeHolder(holder) : null;
      if (options.json) terminal.printJson({ v: 1, key, code, holder: known, message }, 0);
      else terminal.print(message);
      if (code === "draining") return 2;
      return code === "handed-over" ? 0 : 1;
    } finally {
      await lock.close();
    }
  });
}

/** Asks once: a second copy could reach the successor. `heard` grows while we wait. */
export async function askByHand(
  lock: Pick<OpenLock, "holder" | "ask">,
  heard: readonly HandoverRequest[],
  clock: Clock,
): Promise<Outcome> {
  const now = () => clock.now().monotonicMs;
  const asked = await lock.holder();
  if (!asked) return { code: "free", message: "No instance holds the lock: there is nobody to ask." };
  const id = randomUUID();
  const { token } = asked;
  await lock.ask({ id, instance: "by hand", ...(token !== undefined && { token }) });
  const askedAt = now();
  let freeSince: number | undefined;
  for (;;) {
    const holder = await lock.holder();
    const answer = heard.find((request) => request.id === id)?.answer;
    if (!holder) freeSince ??= now();
    const isNew = holder && (freeSince !== undefined || !isSameLease(holder, asked));
    if (isNew)
      return identityOf(holder) === identityOf(asked) ? takenAgain(holder) : handedOver(holder, asked);
    const outcome = holder
      ? stillHeld(holder, answer, now() - askedAt)
      : now() - (freeSince ?? now()) > takeMs
        ? notTaken(asked)
        : undefined;
    if (outcome) return outcome;
    await wait(clock, lookEveryMs, new AbortController().signal);
  }
}

function isSameLease(one: Holder, other: Holder): boolean {
  return identityOf(one) === identityOf(other) && one.token === other.token;
}

/** A Postgres session lock tells no owner, but the start of the session. */
function identityOf({ owner, instance, since }: Holder): string {
  return owner ?? `${instance} ${since}`;
}

function handedOver(holder: Holder, former: Holder): Outcome {
  const message = `Handed over: ${holderName(holder)} has taken it from ${holderName(former)}.`;
  return { code: "handed-over", message, holder };
}

function takenAgain(holder: Holder): Outcome {
  const message = `${holderName(holder)} handed over, and nobody else stood by, so it has taken the lock again. Start another instance first.`;
  return { code: "taken-again", message, holder };
}

function notTaken(former: Holder): Outcome {
  const message = `${holderName(former)} handed over, and nobody has taken the lock for ${duration(takeMs)}. Start an instance.`;
  return { code: "not-taken", message };
}

/** Undefined: it may still hand over. */
function stillHeld(
  holder: Holder,
  answer: HandoverAnswer | undefined,
  waitedMs: number,
): Outcome | undefined {
  const name = holderName(holder);
  if (answer === "stopping") {
    const message = `${name} does not hand over for that: it is stopping, and gives the lock back when its handlers have ended.`;
    return { code: "refused", message, holder };
  }
  if (answer === "outranked") {
    return {
      code: "refused",
      message: `${name} does not hand over for that: its priority is higher.`,
      holder,
    };
  }
  if (answer === undefined && waitedMs > answerMs) {
    const message = `${name} has not answered within ${duration(answerMs)} and still holds the lock. Release 1.0.0 knows no such requests; or it is cut off, or its lock carries none (Postgres through a transaction pooler, a file lock in a long path). Stop it.`;
    return { code: "no-answer", message, holder };
  }
  if (waitedMs > drainMs) {
    const message = `${name} hands over, and its handlers have not ended within ${duration(drainMs)}. Look later: grammy-safe-polling holder.`;
    return { code: "draining", message, holder };
  }
  return undefined;
}
