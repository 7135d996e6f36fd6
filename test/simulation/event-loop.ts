/** Something that will happen. */
export interface Task {
  /** Clears it, if it has not happened yet. */
  cancel(): void;
}

interface Entry extends Task {
  readonly atMs: number;
  readonly order: number;
  readonly host: Host | undefined;
  run: (() => void) | undefined;
}

/**
 * What runs on one computer and can stop running: a process or a server. While it is frozen, whatever happens to
 * it waits in `backlog`; what happens to the dead happens to nobody.
 */
export class Host {
  readonly name: string;
  state: "running" | "frozen" | "dead" = "running";
  backlog: Entry[] = [];
  /** How many reasons there are for it to stand still. */
  freezes = 0;

  constructor(name: string) {
    this.name = name;
  }
}

/**
 * Virtual time. Tasks run one after the other in the order of their times; after each one every promise that can
 * settle has settled before `afterEach` looks at the world and the next one runs. There is no other time and no
 * other order, so a story is the same every time it is told.
 */
export class EventLoop {
  nowMs = 0;
  steps = 0;
  readonly #afterEach: (host: Host | undefined) => void;
  readonly #heap: Entry[] = [];
  #order = 0;
  #isOver = false;

  constructor(afterEach: (host: Host | undefined) => void) {
    this.#afterEach = afterEach;
  }

  /** Lets `run` happen on `host` in `delayMs`. */
  after(delayMs: number, host: Host | undefined, run: () => void): Task {
    const entry: Entry = {
      atMs: this.nowMs + Math.max(0, delayMs),
      order: this.#order++,
      host,
      run,
      cancel() {
        entry.run = undefined;
      },
    };
    this.#push(entry);
    return entry;
  }

  freeze(host: Host): void {
    if (host.state === "dead") return;
    host.state = "frozen";
    host.freezes += 1;
  }

  /**
   * Takes back one `freeze`; a host that was frozen for several reasons goes on with the last of them. What it has
   * missed happens then, in the order that `sort` gives it.
   */
  resume(host: Host, sort: (backlog: readonly Task[]) => readonly Task[] = (backlog) => backlog): void {
    host.freezes -= 1;
    if (host.state !== "frozen" || host.freezes > 0) return;
    host.state = "running";
    const missed = sort(host.backlog) as readonly Entry[];
    host.backlog = [];
    for (const entry of missed) this.after(0, host, () => entry.run?.());
  }

  kill(host: Host): void {
    host.state = "dead";
    host.backlog = [];
  }

  /** Ends `run`. */
  end(): void {
    this.#isOver = true;
  }

  /** Runs until `end` is called or nothing is left to happen. Rejects with what a task or `afterEach` throws. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = () => {
        try {
          const entry = this.#isOver ? undefined : this.#next();
          if (!entry) return resolve();
          this.nowMs = entry.atMs;
          this.steps += 1;
          entry.run?.();
          whenSettled(() => look(entry.host));
        } catch (error) {
          reject(error);
        }
      };
      const look = (host: Host | undefined) => {
        try {
          this.#afterEach(host);
        } catch (error) {
          return reject(error);
        }
        turn();
      };
      whenSettled(turn);
    });
  }

  #next(): Entry | undefined {
    for (;;) {
      const entry = this.#pop();
      if (!entry) return undefined;
      if (!entry.run || entry.host?.state === "dead") continue;
      if (entry.host?.state !== "frozen") return entry;
      entry.host.backlog.push(entry);
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const above = (index - 1) >> 1;
      if (!isBefore(entry, heap[above] as Entry)) break;
      heap[index] = heap[above] as Entry;
      index = above;
    }
    heap[index] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0 || !last) return first;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isBefore(heap[below + 1] as Entry, heap[below] as Entry)) below += 1;
      if (!isBefore(heap[below] as Entry, last)) break;
      heap[index] = heap[below] as Entry;
      index = below;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(one: Entry, other: Entry): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}

/**
 * Node runs a tick only when no microtask is left: from a microtask, a tick comes after every promise that can
 * settle has settled, without a turn of the real event loop.
 */
function whenSettled(callback: () => void): void {
  queueMicrotask(() => process.nextTick(callback));
}
