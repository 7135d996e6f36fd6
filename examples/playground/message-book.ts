import type { BotApiEvent } from "grammy-safe-polling/testing";
import type { MessageView } from "./protocol.js";

/** Settled messages beyond these are forgotten. */
const keptMessages = 3_000;
/** So many that were answered twice or lost are kept all the same: they stay on the page. */
const keptDamage = 200;

interface Entry {
  readonly number: number;
  readonly pushedAt: number;
  readonly answers: { readonly at: number; readonly instance: string }[];
  /** Instances that were sent it and whose process lives. */
  readonly holders: Set<string>;
  isRemoved: boolean;
  lostAt: number | undefined;
}

export interface MessageEvents {
  pushed(number: number, at: number): void;
  answered(number: number, at: number, instance: string, times: number): void;
  lost(number: number, at: number): void;
}

/**
 * What became of every message of one lane, from what its Bot API server reports. A message is lost when it has left
 * Telegram's queue unanswered and no process that was sent it lives on.
 */
export class MessageBook {
  readonly #entries = new Map<number, Entry>();
  readonly #damaged = new Set<Entry>();
  readonly #events: MessageEvents;
  #pushed = 0;
  #lost = 0;

  constructor(events: MessageEvents) {
    this.#events = events;
  }

  get lost(): number {
    return this.#lost;
  }

  observe(event: BotApiEvent): void {
    if (event.type === "pushed") this.#pushedOne(event.updateId, event.at);
    else if (event.type === "sent" && event.updateId !== undefined) {
      const entry = this.#entries.get(event.updateId);
      if (!entry) return;
      entry.answers.push({ at: event.at, instance: event.instance });
      if (entry.answers.length > 1) this.#keep(entry);
      this.#events.answered(entry.number, event.at, event.instance, entry.answers.length);
    } else if (event.type === "answered" && event.zombie === undefined) {
      for (const id of event.updateIds) this.#entries.get(id)?.holders.add(event.instance);
    } else if (event.type === "removed") {
      for (const id of event.updateIds) {
        const entry = this.#entries.get(id);
        if (!entry) continue;
        entry.isRemoved = true;
        this.#judge(entry, event.at);
      }
    }
  }

  /** A process has ended, and with it whatever it had fetched. */
  ended(instance: string, at: number): void {
    for (const entry of this.#entries.values()) {
      if (entry.holders.delete(instance)) this.#judge(entry, at);
    }
  }

  /** What was pushed or answered after a moment, whatever is still open, and what was answered twice or lost. */
  since(at: number): MessageView[] {
    const recent = [...this.#entries.values()].filter(
      ({ pushedAt, answers, lostAt }) =>
        (answers.length === 0 && lostAt === undefined) || Math.max(pushedAt, answers.at(-1)?.at ?? 0) >= at,
    );
    return [...new Set([...this.#damaged, ...recent])].map(({ number, pushedAt, answers, lostAt }) => ({
      number,
      pushedAt,
      answers: [...answers],
      ...(lostAt === undefined ? {} : { lostAt }),
    }));
  }

  #pushedOne(updateId: number, at: number): void {
    this.#pushed += 1;
    this.#entries.set(updateId, {
      number: this.#pushed,
      pushedAt: at,
      answers: [],
      holders: new Set(),
      isRemoved: false,
      lostAt: undefined,
    });
    this.#forgetOldest();
    this.#events.pushed(this.#pushed, at);
  }

  #judge(entry: Entry, at: number): void {
    const isLost = entry.isRemoved && entry.answers.length === 0 && entry.holders.size === 0;
    if (!isLost || entry.lostAt !== undefined) return;
    entry.lostAt = at;
    this.#lost += 1;
    this.#keep(entry);
    this.#events.lost(entry.number, at);
  }

  #keep(entry: Entry): void {
    this.#damaged.add(entry);
    const [oldest] = this.#damaged;
    if (this.#damaged.size > keptDamage && oldest) this.#damaged.delete(oldest);
  }

  #forgetOldest(): void {
    if (this.#entries.size <= keptMessages) return;
    for (const [id, { isRemoved, answers, lostAt }] of this.#entries) {
      const isSettled = isRemoved && (answers.length > 0 || lostAt !== undefined);
      if (!isSettled) continue;
      this.#entries.delete(id);
      return;
    }
  }
}
