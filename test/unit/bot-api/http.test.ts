import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { deflateSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BotApiEmulator, startBotApi } from "../../../src/testing/bot-api/bot-api-emulator.js";
import { pollOverlaps } from "../../../src/testing/bot-api/journal-queries.js";
import { virtualClock } from "./virtual-clock.js";

let emulator: BotApiEmulator;
let token: string;

beforeEach(async () => {
  emulator = await startBotApi();
  token = emulator.bot.token;
});

afterEach(() => emulator.stop());

const post = (method: string, args: object, init: RequestInit = {}) =>
  fetch(`${emulator.url}/bot${token}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(args),
    ...init,
  });

/** A raw connection, and what came back on it so far. */
async function rawConnection(): Promise<{
  socket: Socket;
  received: () => string;
  receive: (end: string) => Promise<string>;
}> {
  const socket = connect(Number(new URL(emulator.url).port), "127.0.0.1");
  socket.on("error", () => {});
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk) => {
    text += chunk;
  });
  await once(socket, "connect");
  const receive = async (end: string) => {
    while (!text.endsWith(end)) await once(socket, "data");
    return text;
  };
  return { socket, received: () => text, receive };
}

const rawPoll = (query: string) => `GET /bot${token}/getUpdates?${query} HTTP/1.1\r\nHost: x\r\n\r\n`;

describe("paths", () => {
  test("GET and POST, query string and body, any case of the method", async () => {
    const byGet = await fetch(`${emulator.url}/bot${token}/GETUPDATES?timeout=0&limit=1`);
    expect(await byGet.text()).toBe('{"ok":true,"result":[]}');
    const form = new FormData();
    form.set("chat_id", "5");
    form.set("text", "grüße");
    const byForm = await fetch(`${emulator.url}/bot${token}/sendMessage`, { method: "POST", body: form });
    expect(await byForm.json()).toMatchObject({ result: { text: "grüße", chat: { id: 5 } } });
    const byUrl = await post(
      "sendMessage",
      {},
      {
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: "chat_id=6&text=hi",
      },
    );
    expect(await byUrl.json()).toMatchObject({ result: { chat: { id: 6 } } });
  });

  // HttpConnection.cpp handle:36-44.
  test("the test environment has its own bots", async () => {
    const { id, token: testToken } = emulator.addBot({ isTest: true });
    const getMe = (path: string) => fetch(`${emulator.url}/bot${path}/getMe`).then((answer) => answer.json());
    expect(await getMe(`${testToken}/test`)).toMatchObject({ ok: true, result: { id } });
    expect(await getMe(`${token}/test`)).toMatchObject({ error_code: 401 });
  });

  test.each(["/", "/bot123", "/bo/t", "/bot1:a/test", "/bot1:a/testMe", "/bot1:a"])(
    "%s is not found",
    async (path) => {
      const answer = await fetch(`${emulator.url}${path}`);
      expect(answer.status).toBe(404);
      expect(await answer.text()).toBe('{"ok":false,"error_code":404,"description":"Not Found"}');
    },
  );

  test("a path without a proper token is unauthorized", async () => {
    const answer = await fetch(`${emulator.url}/bot/getMe`);
    expect(await answer.json()).toMatchObject({
      error_code: 401,
      description: "Unauthorized: invalid token specified",
    });
  });

  // Query.cpp:41.
  test("a path without a method takes it from the arguments", async () => {
    const answer = await fetch(`${emulator.url}/bot${token}/?method=getMe`);
    expect(await answer.json()).toMatchObject({ result: { id: emulator.bot.id } });
    expect((await fetch(`${emulator.url}/bot${token}/`)).status).toBe(404);
  });

  test.each(["__proto__", "constructor"])("%s is no method, and ends nothing", async (name) => {
    const answer = await fetch(`${emulator.url}/bot${token}/${name}`);
    expect(await answer.json()).toMatchObject({ description: "Not Found: method not found" });
    expect((await fetch(`${emulator.url}/_emulator/${name}`)).status).toBe(404);
  });
});

describe("bodies", () => {
  // HttpReader.cpp read_next:222-229: only a body that is too large is an error.
  test("one that breaks off counts as far as it goes: a cut offset confirms", async () => {
    const ids = [1, 2, 3].map(() => emulator.pushMessage(emulator.bot.id, "hi")!);
    const cut = await post("getUpdates", {}, { body: `{"offset":${ids[1]},"limi` });
    expect(await cut.json()).toMatchObject({ result: [{ update_id: ids[1] }, { update_id: ids[2] }] });
    expect(emulator.counters().confirmed).toBe(1);
    const unreadable = await post("getUpdates", {}, { body: "][" });
    expect(await unreadable.json()).toMatchObject({ result: [{ update_id: ids[1] }, { update_id: ids[2] }] });
  });

  const form = { "content-type": "multipart/form-data; boundary=xyz" };

  // HttpConnectionBase.cpp loop:132-144: a bare status, and the connection is closed.
  test.each<[number, string, () => RequestInit]>([
    [400, "a broken form", () => ({ method: "POST", body: "--xyz\r\n", headers: form })],
    [
      413,
      "more than 1 MiB",
      () => ({ method: "POST", body: JSON.stringify({ a: "x".repeat(1024 * 1024) }) }),
    ],
    [
      415,
      "an unknown encoding",
      () => ({ method: "POST", body: "{}", headers: { "content-encoding": "br" } }),
    ],
    [
      400,
      "what cannot be unpacked",
      () => ({ method: "POST", body: "{}", headers: { "content-encoding": "gzip" } }),
    ],
    [501, "another HTTP method", () => ({ method: "PUT", body: "{}" })],
  ])("%d for %s", async (status, _what, init) => {
    const { headers, ...rest } = init();
    const answer = await fetch(`${emulator.url}/bot${token}/getMe`, {
      headers: { "content-type": "application/json", ...headers },
      ...rest,
    });
    expect(answer.status).toBe(status);
    expect(answer.headers.get("connection")).toBe("close");
    expect(await answer.text()).toBe("");
  });

  test.each(["gzip", "deflate"] as const)("%s is unpacked", async (encoding) => {
    const packed = (encoding === "gzip" ? gzipSync : deflateSync)('{"chat_id":5,"text":"hi"}');
    const headers = { "content-type": "application/json", "content-encoding": encoding };
    const answer = await post("sendMessage", {}, { headers, body: new Uint8Array(packed) });
    expect(await answer.json()).toMatchObject({ result: { text: "hi" } });
  });

  // MAX_TOTAL_HEADERS_LENGTH, HttpReader.h:110.
  test("the query string may fill the headers: 256 KiB, and no more", async () => {
    const ask = (bytes: number) => fetch(`${emulator.url}/bot${token}/getMe?a=${"x".repeat(bytes)}`);
    expect((await ask(200 * 1024)).status).toBe(200);
    expect((await ask(257 * 1024)).status).toBe(431);
  });
});

describe("answers", () => {
  test("have the real server's headers", async () => {
    const answer = await post("getMe", {});
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(answer.headers.get("connection")).toBe("keep-alive");
    expect(Number(answer.headers.get("content-length"))).toBe((await answer.arrayBuffer()).byteLength);
  });

  test("429 has a Retry-After header", async () => {
    emulator.injectFault({ kind: "too-many-requests", retryAfter: 7 });
    const answer = await post("getMe", {});
    expect(answer.status).toBe(429);
    expect(answer.headers.get("retry-after")).toBe("7");
    await answer.text();
  });

  test("nginx's page is HTML", async () => {
    emulator.injectFault({ kind: "bad-gateway-html" });
    const answer = await post("getMe", {});
    expect(answer.status).toBe(502);
    expect(answer.headers.get("content-type")).toBe("text/html");
    expect(await answer.text()).toContain("<center>nginx</center>");
  });

  test("a connection serves one request after the other", async () => {
    const { socket, received, receive } = await rawConnection();
    socket.write(`${rawPoll("timeout=50")}GET /bot${token}/getMe HTTP/1.1\r\nHost: x\r\n\r\n`);
    const parked = await emulator.waitForEvent("parked");
    expect(received()).toBe("");
    expect(emulator.events.some((event) => event.type === "request" && event.method === "getme")).toBe(false);

    const id = emulator.pushMessage(token, "hi");
    const text = await receive("}}");

    expect(text.indexOf(String(id))).toBeLessThan(text.indexOf("is_bot"));
    const [answered, second] = [
      await emulator.waitForEvent("answered"),
      await emulator.waitForEvent("request", undefined, { after: parked.sequence }),
    ];
    expect(second.sequence).toBeGreaterThan(answered.sequence);
    socket.destroy();
  });
});

describe("who sends", () => {
  test("the tag in the url, else the header, else the port", async () => {
    const path = `/bot${token}/getMe`;
    await (await fetch(emulator.urlFor("one/two ü") + path)).text();
    await (await fetch(emulator.url + path, { headers: { "x-instance": "three" } })).text();
    await (await fetch(emulator.url + path)).text();
    const instances = emulator.events.flatMap((event) => (event.type === "request" ? [event.instance] : []));
    expect(instances).toEqual(["one/two ü", "three", expect.stringMatching(/^port:\d+$/)]);
  });
});

describe("clients that go away", () => {
  const leave: Record<string, (socket: Socket) => void> = {
    closes: (socket) => socket.destroy(),
    "closes its half": (socket) => socket.end(),
    resets: (socket) => socket.resetAndDestroy(),
  };

  test.each(Object.keys(leave))(
    "one that %s leaves a zombie in the slot, which the next poll displaces",
    async (how) => {
      const { socket } = await rawConnection();
      socket.write(rawPoll("timeout=50"));
      await emulator.waitForEvent("parked");
      leave[how]!(socket);
      await emulator.waitForEvent("disconnected");
      expect(emulator.state(token).parked).toBeDefined();

      const next = post("getUpdates", { timeout: 50, offset: 1 });
      await emulator.waitForEvent("answered", ({ conflict }) => conflict === "other-poller");
      emulator.pushMessage(token, "hi");
      expect((await next).status).toBe(200);

      expect(emulator.counters(token).conflicts["other-poller"]).toEqual({ live: 0, zombie: 1 });
      expect(pollOverlaps(emulator.events)).toEqual([]);
      socket.destroy();
    },
  );

  test("a successor that polls right after an abort is never taken for a second poller", async () => {
    for (let round = 1; round <= 200; round++) {
      const after = emulator.events.at(-1)?.sequence ?? -1;
      const [old, next] = [await rawConnection(), await rawConnection()];
      old.socket.write(rawPoll(`timeout=50&offset=${round}`));
      const parked = await emulator.waitForEvent("parked", undefined, { after });
      old.socket.destroy();
      next.socket.write(rawPoll(`timeout=50&offset=${1_000 + round}`));
      await emulator.waitForEvent("parked", undefined, { after: parked.sequence });
      next.socket.destroy();
    }
    expect(emulator.counters(token).polls).toBe(400);
    expect(pollOverlaps(emulator.events)).toEqual([]);
  });

  test("a client that is gone before its request is looked at is gone before the next one's, too", async () => {
    for (let round = 1; round <= 20; round++) {
      const after = emulator.events.at(-1)?.sequence ?? -1;
      const [old, next] = [await rawConnection(), await rawConnection()];
      old.socket.write(rawPoll(`timeout=50&offset=${round}`));
      old.socket.destroy();
      next.socket.write(rawPoll(`timeout=50&offset=${1_000 + round}`));
      const parked = await emulator.waitForEvent("parked", undefined, { after });
      const { instance } = await emulator.waitForEvent("disconnected", undefined, { after });
      expect(instance).toBe(parked.instance);
      await emulator.waitForEvent("parked", undefined, { after: parked.sequence });
      next.socket.destroy();
      await emulator.waitForEvent("disconnected", (event) => event.instance !== instance, { after });
    }
    expect(emulator.counters(token).polls).toBe(40);
    expect(pollOverlaps(emulator.events)).toEqual([]);
  });

  test("a client that aborts its upload sends nothing", async () => {
    const upload = httpRequest(`${emulator.url}/bot${token}/getMe`, {
      method: "POST",
      headers: { "content-length": 99 },
    });
    upload.on("error", () => {});
    upload.write("{");
    await once(upload, "socket");
    upload.destroy();
    await (await post("getMe", {})).text();
    expect(emulator.events.filter((event) => event.type === "request")).toHaveLength(1);
  });
});

describe("faults of the connection", () => {
  test("reset-before and reset-after reset it", async () => {
    const ids = [emulator.pushMessage(token, "1")!, emulator.pushMessage(token, "2")!];
    for (const kind of ["reset-before", "reset-after"] as const) {
      emulator.injectFault({ kind });
      const error = await post("getUpdates", { offset: ids[1] }).catch((reason: Error) => reason.cause);
      expect(error).toMatchObject({ code: "ECONNRESET" });
      expect(emulator.state(token).pending).toBe(kind === "reset-before" ? 2 : 1);
    }
    expect(emulator.counters(token)).toMatchObject({ delivered: 0, lost: 1 });
  });

  test("silent leaves the client waiting, until it gives up", async () => {
    emulator.injectFault({ kind: "silent" });
    const patience = new AbortController();
    const silent = post("getMe", {}, { signal: patience.signal });
    silent.catch(() => {});
    await emulator.waitForEvent("fault");
    patience.abort();
    await expect(silent).rejects.toThrow(/aborted/);
    await emulator.waitForEvent("disconnected");
  });

  test("a held request of a client that has gone displaces its successor", async () => {
    const fault = emulator.injectFault({ kind: "hold", instance: "old" });
    const { socket } = await rawConnection();
    socket.write(`GET /as/old${rawPoll("timeout=50").slice(4)}`);
    await emulator.waitForEvent("fault");
    socket.destroy();
    const successor = post("getUpdates", { timeout: 50 });
    await emulator.waitForEvent("parked");
    await emulator.waitForEvent("disconnected");

    fault.release();

    expect((await successor).status).toBe(409);
    expect(emulator.state(token).parked?.instance).toBe("old");
  });
});

describe("the control endpoint", () => {
  const control = async (method: string, command: string, input?: object) => {
    const init = input === undefined ? { method } : { method, body: JSON.stringify(input) };
    const answer = await fetch(`${emulator.url}/_emulator/${command}`, init);
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };

  test("pushes, counts and tells what happened", async () => {
    const { body } = await control("POST", "messages", { count: 3, text: "hi", chatId: 8 });
    expect(body.updateIds).toHaveLength(3);
    const answer = await post("getUpdates", {});
    expect(await answer.json()).toMatchObject({
      result: [{ message: { text: "hi", chat: { id: 8 } } }, {}, {}],
    });

    expect((await control("GET", "counters")).body).toMatchObject({ pushed: 3, delivered: 3 });
    const events = (await control("GET", "events?after=2")).body as unknown as { sequence: number }[];
    expect(events).toEqual(JSON.parse(JSON.stringify(emulator.events.slice(3))));
    expect(events[0]?.sequence).toBe(3);
  });

  test("adds bots", async () => {
    const account = (await control("POST", "bots", { username: "second_bot" })).body;
    expect(emulator.bots[1]).toEqual(account);
    const { body } = await control("POST", "messages", { botId: account.id });
    expect(body.updateIds).toHaveLength(1);
    expect((await control("GET", `counters?botId=${account.id}`)).body).toMatchObject({ pushed: 1 });
    expect((await control("GET", `counters?botId=${emulator.bot.id}`)).body).toMatchObject({ pushed: 0 });
  });

  test("injects and ends faults, and ends leases", async () => {
    await control("POST", "faults", { kind: "internal-error", times: null });
    expect((await post("getMe", {})).status).toBe(500);
    await control("DELETE", "faults");
    expect((await post("getMe", {})).status).toBe(200);

    const parked = post(
      "getUpdates",
      { timeout: 50 },
      { headers: { "x-instance": "a", "content-type": "application/json" } },
    );
    await emulator.waitForEvent("parked");
    await control("POST", "lease-ended", { instance: "a" });
    emulator.pushMessage(token, "hi");
    await (await parked).text();
    expect(emulator.counters().zombieAnswers).toBe(1);
  });

  test("says what it cannot do", async () => {
    expect(await control("GET", "nothing")).toMatchObject({ status: 404, body: { error: /GET nothing/ } });
    expect((await control("POST", "messages", { botId: 3 })).status).toBe(400);
  });
});

describe("the end", () => {
  test("stop cuts every connection at once, frees the port, and may be called again", async () => {
    const waiting = post("getUpdates", { timeout: 50 });
    const { socket } = await rawConnection();
    await emulator.waitForEvent("parked");
    const closed = once(socket, "close");

    await emulator.stop();

    await expect(waiting).rejects.toThrow();
    await closed;
    await expect(post("getMe", {})).rejects.toThrow();
    await using again = await startBotApi({ port: Number(new URL(emulator.url).port) });
    expect(again.url).toBe(emulator.url);
  });

  test("stop leaves no timer", async () => {
    const clock = virtualClock();
    const other = await startBotApi({ clock });
    for (const instance of ["a", "b", "c"]) {
      const poll = fetch(`${other.urlFor(instance)}/bot${other.bot.token}/getUpdates?timeout=50`);
      poll.catch(() => {});
      await other.waitForEvent("parked", (event) => event.instance === instance);
    }
    expect(clock.runningTimers).toBe(2);
    await other.stop();
    expect(clock.runningTimers).toBe(0);
  });

  test("a taken port is an error", async () => {
    const port = Number(new URL(emulator.url).port);
    await expect(startBotApi({ port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});
