import type { Clock } from "../../clock.js";
import { type FaultKind, faultKinds } from "./journal.js";
import { failure, nginxPage, type Reply, restarting, tooManyRequests, unauthorized } from "./reply.js";
import type { PendingRequest } from "./request.js";

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

/** Lets a fault have its way with a call. */
export function applyFault(
  active: ActiveFault,
  request: PendingRequest,
  processCall: () => void,
  clock: Clock,
): void {
  const { kind, delayMs } = active.fault;
  request.note({ type: "fault", ...request.identity, fault: kind });
  const reply = faultReply(active.fault);
  if (reply !== undefined) return request.reply(reply);
  if (kind === "silent") return;
  if (kind === "reset-before") return request.reply("reset");
  if (kind === "hold") {
    const letGo = active.hold(processCall);
    if (delayMs !== undefined) clock.setTimer(letGo, delayMs);
    return;
  }
  if (kind === "reset-after") request.markZombie("response-lost");
  else request.answerVia = (finish) => clock.setTimer(finish, delayMs ?? 0);
  processCall();
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
  readonly #active = new Set<ActiveFault>();

  /** @throws TypeError for an unknown kind */
  inject(fault: Fault): InjectedFault {
    if (!faultKinds.includes(fault.kind)) {
      throw new TypeError(`Expected \`kind\` to be one of ${faultKinds.join(", ")}, got ${fault.kind}`);
    }
    const active = new ActiveFault(fault, () => this.#active.delete(active));
    this.#active.add(active);
    return active;
  }

  /** The fault for this call, one of its times used up. */
  take(call: {
    readonly method: string;
    readonly instance: string;
    readonly botId: number;
  }): ActiveFault | undefined {
    for (const active of this.#active) {
      if (!active.hits(call)) continue;
      active.use();
      return active;
    }
    return undefined;
  }

  clear(): void {
    for (const active of this.#active) active.remove();
  }
}

export class ActiveFault implements InjectedFault {
  readonly fault: Fault;
  readonly #onUsedUp: () => void;
  #remaining: number;
  #held = new Set<() => void>();

  constructor(fault: Fault, onUsedUp: () => void) {
    this.fault = fault;
    this.#onUsedUp = onUsedUp;
    this.#remaining = fault.times === null ? Number.POSITIVE_INFINITY : (fault.times ?? 1);
  }

  get remaining(): number {
    return this.#remaining;
  }

  hits(call: { readonly method: string; readonly instance: string; readonly botId: number }): boolean {
    const { method, instance, botId } = this.fault;
    return (
      (method === undefined || method.toLowerCase() === call.method) &&
      (instance === undefined || instance === call.instance) &&
      (botId === undefined || botId === call.botId)
    );
  }

  use(): void {
    this.#remaining -= 1;
    if (this.#remaining <= 0) this.#onUsedUp();
  }

  /** Keeps a call back until `release`, or until the returned function is called. */
  hold(processCall: () => void): () => void {
    const letGo = () => {
      if (this.#held.delete(letGo)) processCall();
    };
    this.#held.add(letGo);
    return letGo;
  }

  release(): void {
    for (const letGo of this.#held) letGo();
  }

  remove(): void {
    this.#remaining = 0;
    this.#onUsedUp();
    this.release();
  }
}
