import type { EventLoop, Host } from "./event-loop.js";
import type { Random } from "./random.js";

/** What becomes of messages: they arrive, vanish, or wait until the path is whole again (TCP sends them again). */
export type Passage = "open" | "lost" | "held";

/** How long a message takes, in milliseconds. */
export interface Delay {
  readonly leastMs: number;
  readonly mostMs: number;
}

/** One direction between two hosts. In order, where all messages go through one connection. */
export class Lane {
  #delay: Delay;
  readonly #loop: EventLoop;
  readonly #random: Random;
  readonly #isOrdered: boolean;
  readonly #lagMs: () => number;
  #passage: Passage = "open";
  #held: { readonly to: Host; readonly arrive: () => void }[] = [];
  #lastArrivalMs = 0;

  /** `lagMs`: how long its sender is still busy before what it sends now goes out. */
  constructor(loop: EventLoop, random: Random, delay: Delay, isOrdered: boolean, lagMs = () => 0) {
    this.#loop = loop;
    this.#random = random;
    this.#delay = delay;
    this.#isOrdered = isOrdered;
    this.#lagMs = lagMs;
  }

  get passage(): Passage {
    return this.#passage;
  }

  set passage(passage: Passage) {
    this.#passage = passage;
    if (passage === "held") return;
    for (const { to, arrive } of this.#held.splice(0)) this.send(to, arrive);
  }

  set delay(delay: Delay) {
    this.#delay = delay;
  }

  send(to: Host, arrive: () => void): void {
    if (this.#passage === "lost") return;
    if (this.#passage === "held") return void this.#held.push({ to, arrive });
    const { leastMs, mostMs } = this.#delay;
    let arrivesAt = this.#loop.nowMs + this.#lagMs() + this.#random.between(leastMs, mostMs);
    if (this.#isOrdered) arrivesAt = Math.max(arrivesAt, this.#lastArrivalMs);
    this.#lastArrivalMs = arrivesAt;
    this.#loop.after(arrivesAt - this.#loop.nowMs, to, arrive);
  }
}

/** Both directions between an instance and a server. */
export class Path {
  readonly requests: Lane;
  readonly answers: Lane;
  readonly #usualDelay: Delay;
  #isSlow = false;

  constructor(loop: EventLoop, random: Random, delay: Delay, isOrdered: boolean, lagMs: () => number) {
    this.requests = new Lane(loop, random, delay, isOrdered, lagMs);
    this.answers = new Lane(loop, random, delay, isOrdered);
    this.#usualDelay = delay;
  }

  get isHealthy(): boolean {
    return !this.#isSlow && this.requests.passage === "open" && this.answers.passage === "open";
  }

  /** Undefined: as usual. */
  set delay(delay: Delay | undefined) {
    this.#isSlow = delay !== undefined;
    this.requests.delay = delay ?? this.#usualDelay;
    this.answers.delay = delay ?? this.#usualDelay;
  }

  set passage(passage: Passage) {
    this.requests.passage = passage;
    this.answers.passage = passage;
  }
}
