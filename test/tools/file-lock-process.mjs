// One process with one connection of the built file lock. Reads one JSON command a line, prints one JSON event a line.
import cluster from "node:cluster";
import { createInterface } from "node:readline";
import { fileLock } from "grammy-safe-polling/file";

/**
 * @typedef {Awaited<ReturnType<ReturnType<typeof fileLock>["connect"]>>} Connection
 * @typedef {{ keys?: string[], count?: number, held?: string[] }} Options
 */

const [directory = "", mode] = process.argv.slice(2);

/** @param {string} event @param {object} [fields] */
function say(event, fields = {}) {
  process.stdout.write(
    `${JSON.stringify({ event, at: performance.timeOrigin + performance.now(), ...fields })}\n`,
  );
}

/** @param {unknown} error */
function sayFailed(error) {
  const { code, message } = /** @type {NodeJS.ErrnoException} */ (error);
  say("failed", { code, message });
}

/** @type {string[]} */
const wanted = [];

async function connect() {
  return await fileLock({ directory }).connect({
    owner: `process:${process.pid}`,
    instance: `process ${process.pid}`,
    revision: "abc",
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    signal: new AbortController().signal,
    wantedKeys: () => wanted,
    onWake: (key) => say("wake", { key }),
    onClosed() {},
  });
}

/** Claims `keys`, or `count` numbered ones, whose answers are only counted. */
async function claim(/** @type {Connection} */ connection, /** @type {Options} */ { keys, count = 0 }) {
  const all = keys ?? Array.from({ length: count }, (_, index) => String(index));
  const start = performance.now();
  const claims = await connection.claim(all.map((key) => ({ key, mayTakeForgotten: true })));
  const tookMs = performance.now() - start;
  wanted.push(...all.filter((_, index) => !claims[index]?.granted));
  const granted = claims.filter((answer) => answer.granted).length;
  return { granted, tookMs, ...(keys && { claims }) };
}

/** @type {Record<string, (connection: Connection, options: Options) => Promise<object | void>>} */
const commands = {
  claim,
  beat: async (connection, { held = [] }) => ({ ours: await connection.beat(held) }),
  release: (connection, { keys = [] }) => connection.release(keys),
};

async function run() {
  const connection = await connect();
  say("connected", { pid: process.pid });
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...options } = JSON.parse(line);
    // From here on only the lock could keep the process alive.
    if (name === "end") process.stdin.destroy();
    try {
      say(name, (await commands[name]?.(connection, options)) ?? {});
    } catch (error) {
      sayFailed(error);
    }
  }
}

if (mode === "cluster" && cluster.isPrimary) {
  // The worker reads the primary's input; the primary lives on when its worker is gone.
  cluster.setupPrimary({ stdio: ["inherit", "inherit", "inherit", "ipc"] });
  cluster.fork();
  setInterval(() => {}, 60_000);
} else {
  run().catch(sayFailed);
}
