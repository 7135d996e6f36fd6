import type { Clock } from "../../clock.js";
import { type FaultKind, faultKinds } from "./journal.js";
import { failure, nginxPage, type Reply, restarting, tooManyRequests, unauthorized } from "./reply.js";
import type { ApiRequest } from "./request.js";

/** A fault, and the calls that it hits: those that match everything given here. */
export interface Fault {
  readonly kind: FaultKind;
  /** Upper and lower case are the same. @defaultValue any method */
  readonly method?: string;
  /** @defaultValue any instance */
  readonly instance?: string;
  /** @defaultValue any bot */
  readonly botId?: number;
  /** How many calls it hits; `null` (or Infinity): until it is removed. @defaultValue 1 */
  readonly times?: number | null;
  /** For `too-many-requests`, in seconds. @defaultValue 5 */
  readonly retryAfter?: number;
  /** For `delay-answer` (default 0) and `hold` (default: until released), in milliseconds. */
  readonly delayMs?: number;
}

/** A fault that was injected. */
export interface InjectedFault {
  /** Calls that it will still hit. */
  readonly remaining: number;
  /** Lets the calls go that a `hold` has stopped so far, in the order of their arrival. */
  release(): void;
  /** Ends it; held calls are released. */
  remove(): void;
}

/** The answer of a fault that has one. */
function faultReply(fault: Fault): Reply | undefined {
  switch (fault.kind) {
    case "too-many-requests":
      return tooManyRequests(fault.retryAfter ?? 5);
    case "internal-error":
      return restarting;
    case "bad-gateway":
      return failure(502, "Bad Gateway");
    case "bad-gateway-html":
      return nginxPage(502, "Bad Gateway");
    case "not-found-html":
      return nginxPage(404, "Not Found");
    case "unauthorized":
      return unauthorized;
    default:
      return undefined;
  }
}

export type FaultPlan = ReturnType<typeof createFaultPlan>;

/** The faults that wait for calls to hit, oldest first. */
export function createFaultPlan(clock: Clock) {
  const active = new Set<ActiveFault>();

  /** @throws TypeError for an unknown kind */
  function inject(fault: Fault): InjectedFault {
    if (!faultKinds.includes(fault.kind)) {
      throw new TypeError(`Expected \`kind\` to be one of ${faultKinds.join(", ")}, got ${fault.kind}`);
    }
    const injected: ActiveFault = activate(fault, clock, () => active.delete(injected));
    active.add(injected);
    return injected;
  }

  /** Lets a call be processed, or the oldest fault that fits it have its way with it. */
  function pass(request: ApiRequest, processCall: () => void): void {
    const hitting = [...active].find(({ fault }) => fits(fault, request));
    if (hitting === undefined) processCall();
    else hitting.hit(request, processCall);
  }

  function clear(): void {
    for (const { remove } of active) remove();
  }

  return { inject, pass, clear };
}

function fits({ method, instance, botId }: Fault, request: ApiRequest): boolean {
  return (
    (method === undefined || method.toLowerCase() === request.method) &&
    (instance === undefined || instance === request.identity.instance) &&
    (botId === undefined || botId === request.botId)
  );
}

type ActiveFault = ReturnType<typeof activate>;

function activate(fault: Fault, clock: Clock, onUsedUp: () => void) {
  const { kind, delayMs } = fault;
  const held = new Set<() => void>();
  const active = {
    fault,
    remaining: fault.times === null ? Number.POSITIVE_INFINITY : (fault.times ?? 1),

    hit(request: ApiRequest, processCall: () => void): void {
      active.remaining -= 1;
      if (active.remaining <= 0) onUsedUp();
      request.note({ type: "fault", ...request.identity, fault: kind });
      const reply = faultReply(fault);
      if (reply !== undefined) return request.reply(reply);
      if (kind === "silent") return;
      if (kind === "reset-before") return request.reply("reset");
      if (kind === "hold") {
        const letGo = () => {
          if (held.delete(letGo)) processCall();
        };
        held.add(letGo);
        if (delayMs !== undefined) clock.setTimer(letGo, delayMs);
        return;
      }
      if (kind === "reset-after") request.markZombie("response-lost");
      else request.answerVia = (finish) => clock.setTimer(finish, delayMs ?? 0);
      processCall();
    },

    release(): void {
      for (const letGo of held) letGo();
    },

    remove(): void {
      active.remaining = 0;
      onUsedUp();
      active.release();
    },
  };
  return active;
}
