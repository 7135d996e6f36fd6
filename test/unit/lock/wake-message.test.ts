import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { freeLine, readLine } from "../../../src/lock/file/wake-server.js";
import { wakePayload } from "../../../src/lock/postgres/sql.js";
import { decodeAsk, decodeWake, encodeAsk, encodeWake } from "../../../src/lock/wake-message.js";

/** How release 1.0.0 reads what a holder says, copied from its sources. */
const readBy100 = {
  postgres(payload: string): unknown[] {
    if (payload === "") return [undefined];
    const keys = JSON.parse(payload);
    return Array.isArray(keys) ? keys : [];
  },
  redis(message: string): unknown[] {
    const keys = JSON.parse(message);
    return keys.length === 0 ? [undefined] : keys;
  },
  file: (line: string) => JSON.parse(line).free,
  /** "heard" is an answer to a line with `v` and without `free`. */
  fileSays(line: string): unknown {
    const { v, free } = JSON.parse(line);
    if (typeof v !== "number") return undefined;
    return free === undefined ? "heard" : free;
  },
};

const hostile = fc.string({ unit: "binary", maxLength: 8 });

describe("a wake-up message", () => {
  it("names up to ten keys, whatever they are, in ASCII", () => {
    fc.assert(
      fc.property(fc.array(hostile, { minLength: 1, maxLength: 10 }), (keys) => {
        const message = encodeWake(keys);

        expect(message).toMatch(/^[ -~]+$/);
        expect(decodeWake(message)).toEqual(keys);
        expect(readLine(freeLine(keys))).toEqual(keys);
      }),
    );
  });

  it("is read by release 1.0.0, and reads what that sends", () => {
    const keys = ["1", "бот", 'a"b\\c'];
    const many = Array.from({ length: 11 }, String);

    expect(readBy100.postgres(wakePayload(keys))).toEqual(keys);
    expect(readBy100.postgres(wakePayload(many))).toEqual([undefined]);
    expect(readBy100.redis(encodeWake(keys))).toEqual(keys);
    expect(readBy100.redis(encodeWake(many))).toEqual([undefined]);
    expect(readBy100.file(freeLine(keys))).toEqual(keys);
    expect(readBy100.file(freeLine(many))).toEqual([]);
    expect(decodeWake(JSON.stringify(keys))).toEqual(keys);
    expect(readLine(`${JSON.stringify({ v: 1, free: keys })}\n`)).toEqual(keys);
  });

  it("stands for any key where the keys are many or long", () => {
    expect(decodeWake(encodeWake(Array.from({ length: 11 }, String)))).toEqual([undefined]);
    expect(decodeWake(encodeWake(["x".repeat(2_000)]))).toEqual([undefined]);
    expect(readLine(freeLine(["x".repeat(2_000)]))).toEqual([undefined]);
  });

  it.each(["", "1", "{}", "null", '["1"', "wake!", '"1"', '{"keys":["1"]}', `["${"x".repeat(17_000)}"]`])(
    "that is none says nothing: %s",
    (message) => expect(decodeWake(message)).toEqual([]),
  );

  it("of any size names no more than ten keys, and nothing that is none", () => {
    expect(decodeWake(JSON.stringify(Array.from({ length: 50 }, String)))).toHaveLength(10);
    expect(decodeWake('[1,null,"a",["b"]]')).toEqual(["a"]);
  });
});

describe("a request to hand over", () => {
  const request = fc.record(
    {
      id: hostile,
      instance: hostile,
      priority: fc.double({ noNaN: true, noDefaultInfinity: true }),
      token: fc.maxSafeInteger(),
      answer: fc.constantFrom("hands-over" as const, "stopping" as const, "outranked" as const),
    },
    { requiredKeys: ["id", "instance"] },
  );

  it("comes as it was sent, in ASCII", () => {
    fc.assert(
      fc.property(hostile, request, (key, sent) => {
        const message = encodeAsk(key, sent as never);

        expect(message).toMatch(/^[ -~]+$/);
        expect(decodeAsk(message)).toEqual({ key, request: JSON.parse(JSON.stringify(sent)) });
      }),
    );
  });

  it("says nothing to release 1.0.0, nor to whoever waits for keys", () => {
    const message = encodeAsk("1", { id: "x", instance: "a", priority: 1 });

    expect(readBy100.postgres(message)).toEqual([]);
    expect(readBy100.redis(message)).not.toBeInstanceOf(Array);
    expect(readBy100.fileSays(message)).toBeUndefined();
    expect(decodeWake(message)).toEqual([]);
    expect(readLine(message)).toEqual([]);
  });

  it("is cut where a label is long, far below what a NOTIFY carries", () => {
    const long = { id: "x".repeat(50), instance: "я".repeat(5_000), priority: Number.MAX_VALUE };

    const message = encodeAsk("я".repeat(200), long);

    expect(message.length).toBeLessThan(7_000);
    expect(decodeAsk(message)?.request.instance).toHaveLength(200);
  });

  it.each([
    "",
    "[]",
    "null",
    "{}",
    '{"ask":{}}',
    '{"ask":{"key":"1","id":"x"}}',
    '{"ask":{"key":1,"id":"x","instance":"a"}}',
    '{"ask":{"key":"1","id":"x","instance":"a","priority":"9"}}',
    '{"ask":{"key":"1","id":"x","instance":"a","priority":null}}',
    '{"ask":{"key":"1","id":"x","instance":"a","answer":"never"}}',
    `{"ask":{"key":"1","id":"x","instance":"${"a".repeat(17_000)}"}}`,
  ])("that is none is ignored: %.60s", (message) => expect(decodeAsk(message)).toBeUndefined());
});

describe("a line of the wake socket", () => {
  it("tells a waiter that it is heard", () => {
    expect(readLine('{"v":1}')).toBe("heard");
  });

  it.each(["", "null", "5", "{}", '{"free":["1"]}', '{"v":"1"}', '{"v":1,"free":"1"}', "{", "\0"])(
    "may be garbage: %j",
    (line) => expect(readLine(line)).toEqual([]),
  );
});
