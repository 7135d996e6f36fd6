import { describe, expect, test } from "vitest";
import {
  booleanArgument,
  integerArgument,
  RefusedRequestError,
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

  // HttpReader.cpp read_next:222-229: of all mistakes only 413 is one; parse_json_parameters:640-707.
  test.each<[string, Record<string, string>]>([
    ["{", {}],
    ["[1]", {}],
    ["7", {}],
    ["", {}],
    ['{"offset":12', { offset: "12" }],
    ['{"offset":12,"tim', { offset: "12" }],
    ['{"offset":12,"timeout"', { offset: "12" }],
    ['{"offset":12,"allowed_updates":["mess', { offset: "12" }],
    ['{"offset":12 13}', { offset: "12" }],
    ['{"offset":12,}', { offset: "12" }],
    ['{"offset":1}{"limit":2}', { offset: "1" }],
    ['{"offset":wrong,"limit":2}', {}],
    ['{"a":"x', {}],
    ['{"a":"\\x","b":1}', {}],
    ['{"a":"line\nbreak"}', { a: "line\nbreak" }],
    [`{"a":${"[".repeat(102)}`, {}],
    ['"text"', { content: "text" }],
    ['"text" x', {}],
  ])("%j counts as far as it can be read", (body, expected) => {
    expect(read("", body)).toEqual(expected);
  });

  test.each([
    ["x", "multipart/form-data"],
    ["x", "multipart/form-data; boundary=xyz"],
    ["--xyz\r\nx: y\r\n\r\nvalue\r\n--xyz--", "multipart/form-data; boundary=xyz"],
    ['--xyz\r\ncontent-disposition: form-data; name="a"\r\n\r\nvalue', "multipart/form-data; boundary=xyz"],
  ])("%j as %s is refused", (body, type) => {
    expect(() => read("", body, type)).toThrow(expect.objectContaining({ status: 400 }));
  });

  // MAX_TOTAL_PARAMETERS_LENGTH, HttpReader.h:109; HttpReader.cpp:210.
  test("more than 1 MiB of parameters is refused", () => {
    const body = JSON.stringify({ a: "x".repeat(1024 * 1024 - 8) });
    expect(read("", body)).toHaveProperty("a");
    expect(() => read("b", body)).toThrow(expect.objectContaining({ status: 413 }));
    expect(() => read("", `${body} `, "application/x-www-form-urlencoded")).toThrow(RefusedRequestError);
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
  [" True\n", true],
  ["on", false],
  ["", false],
])("%j as a boolean is %s", (text, expected) => {
  expect(booleanArgument(new Map([["b", text]]), "b")).toBe(expected);
});
