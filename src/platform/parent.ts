/** How the end of whoever started this process is noticed. */
export type ParentSign = "stdin" | "process";

/** How often the parent process is looked for, in milliseconds. */
const lookEveryMs = 1_000;

/**
 * Calls `stop` once when the one that started this process has gone: its end of our standard input is closed, or its
 * process has ended. Keeps no process alive. Returns what ends the watch.
 */
export function onParentGone(sign: ParentSign, stop: () => void): () => void {
  return sign === "stdin" ? onInputEnd(stop) : onProcessEnd(stop);
}

function onInputEnd(stop: () => void): () => void {
  const { stdin } = process;
  stdin.once("end", stop);
  stdin.once("close", stop);
  // The end of an input that nobody reads is never told. Whoever reads it has had a tick to begin.
  const reading = setImmediate(() => {
    if (stdin.readableFlowing === null && stdin.listenerCount("readable") === 0) stdin.resume();
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
