/** How the end of whoever started this process is noticed. */
type ParentSign = "stdin" | "process";

/** How many pieces of an input that nobody reads are kept: of one that goes on, nobody will read the beginning. */
const mostUnread = 16;

/** How often the parent process is looked for, in milliseconds. */
const lookEveryMs = 1_000;

/** Calls `stop` when the signal aborts. Returns what ends that. */
export const onAbort = oneListener((signal: AbortSignal, stop) => {
  signal.addEventListener("abort", stop);
  return () => signal.removeEventListener("abort", stop);
});

/**
 * Calls `stop` once when the one that started this process has gone: its end of our standard input is closed, or its
 * process has ended. Keeps no process alive. Returns what ends the watch.
 */
export const onParentGone = oneListener((sign: ParentSign, stop) =>
  sign === "stdin" ? onInputEnd(stop) : onProcessEnd(stop),
);

function onInputEnd(stop: () => void): () => void {
  const { stdin } = process;
  stdin.once("end", stop);
  stdin.once("close", stop);
  const unread: Buffer[] = [];
  const keep = (chunk: Buffer) => {
    if (unread.length < mostUnread) unread.push(chunk);
  };
  const handOn = (event: string | symbol) => {
    if (event !== "data" && event !== "readable") return;
    stdin.off("newListener", handOn);
    stdin.off("data", keep);
    stdin.ref?.();
    const all = Buffer.concat(unread);
    if (all.length > 0) stdin.unshift(stdin.readableEncoding ? all.toString() : all);
  };
  // The end of an input that nobody reads is never told. So it is read here, and handed on to whoever reads it later.
  const reading = setImmediate(() => {
    if (stdin.readableFlowing !== null || stdin.listenerCount("readable") > 0) return;
    stdin.on("data", keep);
    stdin.on("newListener", handOn);
    stdin.unref?.();
  });
  return () => {
    clearImmediate(reading);
    stdin.off("end", stop);
    stdin.off("close", stop);
  };
}

function onProcessEnd(stop: () => void): () => void {
  const parent = process.ppid;
  const looking = setInterval(() => {
    if (isAlive(parent)) return;
    clearInterval(looking);
    stop();
  }, lookEveryMs).unref();
  return () => clearInterval(looking);
}

/** An orphan gets another parent, but on Windows. */
function isAlive(parent: number): boolean {
  if (process.ppid !== parent) return false;
  try {
    return process.kill(parent, 0);
  } catch (error) {
    // A parent of another user lives.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * Lets many wait for one source with one listener: Node takes more than ten for a leak, and warns. `listen` begins to
 * listen to a source, and returns what ends that.
 */
function oneListener<Source>(listen: (source: Source, tell: () => void) => () => void) {
  const heard = new Map<Source, { readonly stops: Set<() => void>; readonly end: () => void }>();
  return (source: Source, stop: () => void): (() => void) => {
    const listening = heard.get(source) ?? begin(source);
    listening.stops.add(stop);
    return () => {
      if (!listening.stops.delete(stop) || listening.stops.size > 0) return;
      listening.end();
      heard.delete(source);
    };
  };

  function begin(source: Source) {
    const stops = new Set<() => void>();
    const tell = () => {
      for (const stop of [...stops]) stop();
    };
    const listening = { stops, end: listen(source, tell) };
    heard.set(source, listening);
    return listening;
  }
}
