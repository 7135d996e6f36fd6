import type { Clock } from "../../clock.js";
import type { BotApiEvent, BotApiEventBody, EventOf } from "./journal-events.js";

export interface WaitOptions {
  /** Skips events up to this `sequence`. @defaultValue -1: the whole journal counts */
  readonly after?: number;
  /** @defaultValue 5000 */
  readonly timeoutMs?: number;
}

export type EventListener = (event: BotApiEvent) => void;

/** What happened, oldest first. Keeps at least the last `limit` events; listeners get all of them. */
export class Journal {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #listeners = new Set<EventListener>();
  #events: BotApiEvent[] = [];
  #nextSequence = 0;

  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  get events(): readonly BotApiEvent[] {
    return this.#events;
  }

  record(botId: number, body: BotApiEventBody): void {
    const { monotonicMs, wallMs } = this.#clock.now();
    const event = { ...body, sequence: this.#nextSequence++, at: monotonicMs, wallAt: wallMs, botId };
    if (this.#limit > 0) this.#events.push(event);
    // Trimmed at twice the limit, so that an event costs constant time.
    if (this.#events.length > this.#limit * 2) this.#events = this.#events.slice(-this.#limit);
    for (const listener of this.#listeners) listener(event);
  }

  /** Calls `listener` for every event from now on, until the returned function is called. */
  onEvent(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Goes back through the events after the moment `since` and replaces those for which `change` gives another. */
  revise(since: number, change: (event: BotApiEvent) => BotApiEvent | undefined): void {
    for (let index = this.#events.length - 1; index >= 0; index--) {
      const event = this.#events[index];
      if (event === undefined || event.at <= since) return;
      this.#events[index] = change(event) ?? event;
    }
  }

  /** The first event of a type that matches, past or future. */
  waitFor<T extends BotApiEvent["type"]>(
    type: T,
    matches: (event: EventOf<T>) => boolean = () => true,
    { after = -1, timeoutMs = 5_000 }: WaitOptions = {},
  ): Promise<EventOf<T>> {
    const isWanted = (event: BotApiEvent): event is EventOf<T> =>
      event.type === type && event.sequence > after && matches(event as EventOf<T>);
    const past = this.#events.find(isWanted);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const unsubscribe = this.onEvent((event) => {
        if (!isWanted(event)) return;
        timer.clear();
        unsubscribe();
        resolve(event);
      });
      const timer = this.#clock.setTimer(() => {
        unsubscribe();
        const last = JSON.stringify(this.#events.slice(-5));
        reject(new Error(`No such "${type}" event within ${timeoutMs} ms; the last events were ${last}`));
      }, timeoutMs);
    });
  }
}
