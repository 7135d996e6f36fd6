import type { ServerResponse } from "node:http";
import type { Batch, Change, Snapshot } from "./protocol.js";

const batchMs = 50;
/** Where nothing changes, the page still learns the time, so often. */
const idleMs = 1_000;
/** A reader that is so many bytes behind is cut off; its page connects again and gets a snapshot. */
const mostBytesBehind = 4_000_000;

/** Server-sent events: a snapshot for each new reader, then what has changed, in batches. */
export class Feed implements Disposable {
  readonly #readers = new Set<ServerResponse>();
  readonly #timer = setInterval(() => this.#flush(), batchMs);
  #changes: Change[] = [];
  #lastBatchAt = 0;
  /** What is cheaper to compare now and then than to tell of each time. */
  collect: () => readonly Change[] = () => [];

  add(change: Change): void {
    if (this.#readers.size > 0) this.#changes.push(change);
  }

  join(response: ServerResponse, snapshot: Snapshot): void {
    this.#flush();
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      connection: "keep-alive",
    });
    // After a lost connection the page asks again this soon.
    response.write("retry: 500\n\n");
    this.#send(response, "snapshot", snapshot);
    this.#readers.add(response);
    response.on("close", () => this.#readers.delete(response));
  }

  /** Everything is new: a snapshot takes the place of whatever had changed. */
  restart(snapshot: Snapshot): void {
    this.#changes = [];
    for (const reader of this.#readers) this.#send(reader, "snapshot", snapshot);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const reader of this.#readers) reader.end();
  }

  #flush(): void {
    if (this.#readers.size === 0) return;
    const now = performance.now();
    const batch: Batch = { now, changes: [...this.#changes, ...this.collect()] };
    this.#changes = [];
    if (batch.changes.length === 0 && now - this.#lastBatchAt < idleMs) return;
    this.#lastBatchAt = now;
    for (const reader of this.#readers) this.#send(reader, "batch", batch);
  }

  #send(reader: ServerResponse, event: "snapshot" | "batch", data: Snapshot | Batch): void {
    if (reader.writableLength > mostBytesBehind) reader.destroy();
    else reader.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }
}
