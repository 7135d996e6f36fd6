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

/** The faults that wait for calls to hit, oldest first. */
export class FaultPlan {
  readonly #clock: Clock;
  readonly #active = new Set<ActiveFault>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws TypeError for an unknown kind */
  inject(fault: Fault): InjectedFault {
    if (!faultKinds.includes(fault.kind)) {
      throw new TypeError(`Expected \`kind\` to be one of ${faultKinds.join(", ")}, got ${fault.kind}`);
    }
    const active = new ActiveFault(fault, this.#clock, () => this.#active.delete(active));
    this.#active.add(active);
    return active;
  }

  /** Lets a call be processed, or the oldest fault that fits it have its way with it. */
  pass(request: ApiRequest, processCall: () => void): void {
    const active = [...this.#active].find((one) => one.fits(request));
    if (active === undefined) processCall();
    else active.hit(request, processCall);
  }

  clear(): void {
    for (const active of this.#active) active.remove();
  }
}

class ActiveFault implements InjectedFault {
  readonly #fault: Fault;
  readonly #clock: Clock;
  readonly #onUsedUp: () => void;
  readonly #held = new Set<() => void>();
  remaining: number;

  constructor(fault: Fault, clock: Clock, onUsedUp: () => void) {
    this.#fault = fault;
    this.#clock = clock;
    this.#onUsedUp = onUsedUp;
    this.remaining = fault.times === null ? Number.POSITIVE_INFINITY : (fault.times ?? 1);
  }

  fits(request: ApiRequest): boolean {
    const { method, instance, botId } = this.#fault;
    return (
      (method === undefined || method.toLowerCase() === request.method) &&
      (instance === undefined || instance === request.identity.instance) &&
      (botId === undefined || botId === request.botId)
    );
  }

  hit(request: ApiRequest, processCall: () => void): void {
    const { kind, delayMs } = this.#fault;
    this.remaining -= 1;
    if (this.remaining <= 0) this.#onUsedUp();
    request.note({ type: "fault", ...request.identity, fault: kind });
    const reply = faultReply(this.#fault);
    if (reply !== undefined) return request.reply(reply);
    if (kind === "silent") return;
    if (kind === "reset-before") return request.reply("reset");
    if (kind === "hold") {
      const letGo = () => {
        if (this.#held.delete(letGo)) processCall();
      };
      this.#held.add(letGo);
      if (delayMs !== undefined) this.#clock.setTimer(letGo, delayMs);
      return;
    }
    if (kind === "reset-after") request.markZombie("response-lost");
    else request.answerVia = (finish) => this.#clock.setTimer(finish, delayMs ?? 0);
    processCall();
  }

  release(): void {
    for (const letGo of this.#held) letGo();
  }

  remove(): void {
    this.remaining = 0;
    this.#onUsedUp();
    this.release();
  }
}
