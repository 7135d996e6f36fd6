import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { readRecord, writeRecord } from "../../../src/lock/file/holder-record.js";
import { connectQuietly } from "../../../src/lock/file/wake-clients.js";
import { freeLine, wakeSocketPath } from "../../../src/lock/file/wake-server.js";
import { maxWakeLength } from "../../../src/lock/wake-message.js";
import {
  holderHasHeard,
  openSession,
  type Session,
  temporaryDirectory,
  tryClaim,
} from "../../tools/file-lock-bench.js";

const socketsIn = (directory: string) => readdirSync(directory).filter((name) => name.endsWith(".sock"));

/**
 * A holder of "1" whose socket says what the test wants. Started after the waiter: a connection that opens tries
 * every socket that it finds, to see which are dead.
 */
async function startStrangeHolder(
  directory: string,
): Promise<{ waiter: Promise<Socket>; name: string; server: Server }> {
  const name = "00000000000000aa";
  const session = await openSession({ directory });
  const token = (await tryClaim(session, "1")) ?? 0;
  let onWaiter: (socket: Socket) => void = () => {};
  const waiter = new Promise<Socket>((resolve) => (onWaiter = resolve));
  const server = createServer((socket) => onWaiter(socket));
  await new Promise<void>((resolve) => server.listen(join(directory, `${name}.sock`), resolve));
  onTestFinished(() => void server.close());
  writeRecord(join(directory, "1.json"), "1", { token, holder: { owner: "strange", socket: name } });
  return { waiter, name, server };
}

/** Answers that come after everything that was sent before. */
async function settle(session: Session, socket: Socket): Promise<void> {
  const woken = session.nextWake();
  socket.write(freeLine([]));
  expect(await woken).toBeUndefined();
}

describe("the wake socket", () => {
  test("is one for all keys of a connection, and goes with it", async () => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory });
    await tryClaim(session, "1");
    await tryClaim(session, "2");

    const [name] = socketsIn(directory);
    expect(socketsIn(directory)).toHaveLength(1);
    for (const key of ["1", "2"]) {
      expect(`${readRecord(join(directory, `${key}.json`))?.holder?.socket}.sock`).toBe(name);
    }

    await session.connection.close();
    expect(socketsIn(directory)).toEqual([]);
  });

  test("has a path of at most 100 bytes", () => {
    expect(wakeSocketPath(`/${"d".repeat(77)}`, "0".repeat(16), "linux")).toHaveLength(100);
    expect(wakeSocketPath(`/${"d".repeat(78)}`, "0".repeat(16), "linux")).toBeUndefined();
    expect(wakeSocketPath(`/${"ж".repeat(39)}`, "0".repeat(16), "linux")).toBeUndefined();
    expect(wakeSocketPath("C:\\locks", "ab", "win32")).toBe("\\\\.\\pipe\\grammy-safe-polling-ab");
  });

  test("is left out where its path would be too long, which is said once", async () => {
    const directory = join(temporaryDirectory(), "d".repeat(100));
    const [holder, waiter] = [await openSession({ directory }), await openSession({ directory }, ["1"])];
    await tryClaim(holder, "1");

    expect(await tryClaim(waiter, "1")).toBeUndefined();
    expect(socketsIn(directory)).toEqual([]);
    const said = holder.logs.filter(({ message }) => message.includes("too long"));
    expect(said).toEqual([expect.objectContaining({ level: "debug", fields: { directory } })]);

    await holder.connection.release(["1"]);
    expect(await tryClaim(waiter, "1")).toBeDefined();
  });

  test("wakes for keys that are wanted, by name", async () => {
    const directory = temporaryDirectory();
    const [holder, waiter] = [await openSession({ directory }), await openSession({ directory }, ["1", "2"])];
    for (const key of ["1", "2", "3"]) await tryClaim(holder, key);
    for (const key of ["1", "2", "3"]) await tryClaim(waiter, key);
    await holderHasHeard(directory, "1");

    await holder.connection.release(["3", "2"]);

    await vi.waitFor(() => expect(waiter.wakes).toContain("2"));
    // Where the waiter reads "heard" after the release there is one more, without a key.
    expect(waiter.wakes.filter((key) => key !== undefined)).toEqual(["2"]);
  });

  test("does not mind garbage, nor what is too long", async () => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory }, ["1"]);
    const { waiter: connected } = await startStrangeHolder(directory);
    await tryClaim(session, "1");
    const holder = await connected;

    holder.write('nonsense\n{"v":1,"free":[5,null,"not wanted"]}\n\n\0\n[]\n');
    await settle(session, holder);
    expect(session.wakes).toEqual([undefined]);

    const ended = session.nextWake();
    holder.write("x".repeat(maxWakeLength + 1));
    expect(await ended).toBeUndefined();
    expect(holder.bytesWritten).toBeGreaterThan(maxWakeLength);
  });

  test("reads messages in pieces", async () => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory }, ["ключ"]);
    const { waiter: connected } = await startStrangeHolder(directory);
    await tryClaim(session, "1");
    const holder = await connected;
    const bytes = Buffer.from(freeLine(["ключ"]));
    const woken = session.nextWake();

    // Cut inside a letter.
    holder.write(bytes.subarray(0, 17));
    await new Promise((resolve) => setImmediate(resolve));
    holder.write(bytes.subarray(17));

    expect(await woken).toBe("ключ");
  });

  test("is connected to once, however often the key is refused, and after its end not again", async () => {
    const directory = temporaryDirectory();
    const session = await openSession({ directory }, ["1"]);
    const { waiter: connected, server, name } = await startStrangeHolder(directory);
    let connections = 0;
    server.on("connection", () => {
      connections += 1;
    });

    await tryClaim(session, "1");
    await tryClaim(session, "1");
    const holder = await connected;
    const woken = session.nextWake();
    holder.destroy();
    await woken;
    await tryClaim(session, "1");

    // Whoever connected before this one was accepted before it.
    const last = connectQuietly(join(directory, `${name}.sock`));
    await once(server, "connection");
    last.destroy();
    expect(connections).toBe(2);
  });

  test("reads nothing from a waiter, and survives one that says too much", async () => {
    const directory = temporaryDirectory();
    const [holder, waiter] = [await openSession({ directory }), await openSession({ directory }, ["1"])];
    await tryClaim(holder, "1");
    await tryClaim(waiter, "1");
    const path = join(directory, `${readRecord(join(directory, "1.json"))?.holder?.socket}.sock`);
    const rude = connectQuietly(path);
    await new Promise<void>((resolve) => rude.write("x".repeat(1_000_000), () => resolve()));
    rude.destroy();
    await holderHasHeard(directory, "1");

    await holder.connection.release(["1"]);

    await vi.waitFor(() => expect(waiter.wakes).toContain("1"));
  });
});
