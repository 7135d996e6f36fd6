import { describe, expect, test } from "vitest";
import {
  booleanArgument,
  integerArgument,
  MalformedBodyError,
  readArguments,
} from "../../../src/testing/bot-api/arguments.js";

const json = "application/json";

function read(query: string, body = "", contentType = json): Record<string, string> {
  return Object.fromEntries(readArguments(query, Buffer.from(body), contentType));
}

describe("where arguments come from", () => {
  test("a query string", () => {
    expect(read("offset=5&text=a%20b+c")).toEqual({ offset: "5", text: "a b c" });
  });

  test("a urlencoded body", () => {
    expect(read("", "offset=5&text=%C3%A4", "application/x-www-form-urlencoded; charset=utf-8")).toEqual({
      offset: "5",
      text: "ä",
    });
  });

  test("a form", () => {
    const body = [
      "--xyz",
      'Content-Disposition: form-data; name="chat_id"',
      "",
      "7",
      "--xyz",
      "content-disposition: form-data; name=text",
      "content-type: text/plain",
      "",
      "grüße\r\n\r\nund mehr",
      "--xyz",
      'Content-Disposition: form-data; name="photo"; filename="a.png"',
      "",
      "bytes",
      "--xyz--",
      "",
    ].join("\r\n");
    expect(read("", body, 'multipart/form-data; boundary="xyz"')).toEqual({
      chat_id: "7",
      text: "grüße\r\n\r\nund mehr",
    });
    expect(read("", body, "Multipart/Form-Data; boundary=xyz")).toHaveProperty("chat_id", "7");
  });

  test("a JSON object: strings decoded, everything else as it is written", () => {
    const body =
      '{ "text" : "a\\"b\\u00e4,}" ,"limit":null, "timeout":30.50,"list":["x]", {"y": 1}],"o":{"a":"}"},"b":true }';
    expect(read("", body)).toEqual({
      text: 'a"bä,}',
      limit: "null",
      timeout: "30.50",
      list: '["x]", {"y": 1}]',
      o: '{"a":"}"}',
      b: "true",
    });
    expect(read("", "{}")).toEqual({});
  });

  test("the first of two counts: the query before the body, and within the body", () => {
    expect(read("a=1&a=2", '{"a":3,"b":4,"b":5}')).toEqual({ a: "1", b: "4" });
  });

  test("a body of another type is no argument", () => {
    expect(read("a=1", '{"b":2}', "text/plain")).toEqual({ a: "1" });
  });

  test.each([
    ["{", json],
    ["[1]", json],
    ["7", json],
    ["x", "multipart/form-data"],
  ])("%j as %s cannot be read", (body, type) => {
    expect(() => read("", body, type)).toThrow(MalformedBodyError);
  });
});

describe("numbers", () => {
  test.each([
    ["7", 7],
    ["-7", -7],
    ["30.5", 30],
    ["12abc", 12],
    ["abc", 0],
    ["null", 0],
    ["-", 0],
    [" 7", 0],
    ["", 42],
    ["2147483648", -2147483648],
  ])("%j is %d", (text, expected) => {
    expect(integerArgument(new Map([["n", text]]), "n", 42)).toBe(expected);
  });

  test("an absent one is the default", () => {
    expect(integerArgument(new Map(), "n", 42)).toBe(42);
  });
});

test.each([
  ["true", true],
  ["YES", true],
  ["1", true],
  ["0", false],
  ["on", false],
  ["", false],
])("%j as a boolean is %s", (text, expected) => {
  expect(booleanArgument(new Map([["b", text]]), "b")).toBe(expected);
});
