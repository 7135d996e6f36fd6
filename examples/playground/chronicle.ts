import type { Feed } from "./feed.js";
import type { LaneName, Line, Link } from "./protocol.js";

const keptLines = 60;

/** What happened, line by line, with the reason. */
export class Chronicle {
  readonly #feed: Feed;
  readonly #lines: Line[] = [];
  #nextId = 1;

  constructor(feed: Feed) {
    this.#feed = feed;
  }

  get lines(): readonly Line[] {
    return this.#lines;
  }

  say(lane: LaneName | undefined, tone: Line["tone"], text: string, link?: Link): void {
    const line = { id: this.#nextId++, at: performance.now(), lane, tone, text, link };
    this.#lines.push(line);
    if (this.#lines.length > keptLines) this.#lines.shift();
    this.#feed.add({ type: "line", line });
  }

  clear(): void {
    this.#lines.splice(0);
  }
}
