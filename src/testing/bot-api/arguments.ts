/** The arguments of a call, as text. Where a name comes twice, the first one counts (Query.h arg:56). */
export type Arguments = ReadonlyMap<string, string>;

/** Thrown for a body that cannot be read: the server answers 400 without a body and closes the connection. */
export class MalformedBodyError extends Error {}

/** The arguments that grammY sends for a payload: what is undefined is left out, what is no string becomes JSON. */
export function toArguments(payload: object): Arguments {
  const present = Object.entries(payload).filter(([, value]) => value !== undefined);
  return new Map(
    present.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

/** Reads the arguments of a request: those of the query string first, then those of the body. */
export function readArguments(query: string, body: Buffer, contentType: string): Arguments {
  const found = new Map<string, string>();
  const add = (name: string, value: string) => {
    if (!found.has(name)) found.set(name, value);
  };
  new URLSearchParams(query).forEach((value, name) => {
    add(name, value);
  });
  if (body.length === 0) return found;

  const type = contentType.toLowerCase();
  if (type.includes("multipart/form-data")) readMultipart(body, boundaryOf(contentType), add);
  else if (type.includes("application/json")) readJsonObject(body.toString(), add);
  else if (type.includes("application/x-www-form-urlencoded")) {
    new URLSearchParams(body.toString()).forEach((value, name) => {
      add(name, value);
    });
  }
  return found;
}

/**
 * An int32 the server's way: the default for an absent or empty argument, otherwise a minus sign and digits as
 * far as they go, 0 for anything else. `limit=abc` is 0, `30.5` is 30. Client.cpp get_integer_arg:12360.
 */
export function integerArgument(args: Arguments, name: string, fallback: number): number {
  const text = args.get(name);
  if (text === undefined || text === "") return fallback;
  const digits = /^-?(\d*)/.exec(text)?.[1] ?? "";
  let value = 0;
  for (const digit of digits) value = (Math.imul(value, 10) + Number(digit)) | 0;
  return text.startsWith("-") ? -value | 0 : value;
}

/** Client.cpp to_bool:9357. */
export function booleanArgument(args: Arguments, name: string): boolean {
  return ["true", "yes", "1"].includes(args.get(name)?.toLowerCase() ?? "");
}

/** The value of an argument that is JSON; undefined when it is absent or malformed. */
export function jsonArgument(args: Arguments, name: string): unknown {
  const text = args.get(name);
  if (text === undefined || text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

type AddArgument = (name: string, value: string) => void;

const jsonString = /"(?:[^"\\]|\\.)*"/y;

/** A flat JSON object: strings are decoded, every other value is passed on as it is written. HttpReader.cpp:640. */
function readJsonObject(text: string, add: AddArgument): void {
  assertJsonObject(text);
  let position = text.indexOf("{") + 1;
  for (;;) {
    const nameStart = text.indexOf('"', position);
    if (nameStart === -1) return;
    const name = stringAt(text, nameStart);
    const valueStart = text.indexOf(":", nameStart + name.length) + 1;
    const valueEnd = endOfValue(text, valueStart);
    const raw = text.slice(valueStart, valueEnd).trim();
    add(JSON.parse(name), raw.startsWith('"') ? JSON.parse(raw) : raw);
    position = valueEnd + 1;
  }
}

function assertJsonObject(text: string): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MalformedBodyError("JSON object expected");
  }
}

/** Where the value that starts at `position` ends: at the comma or brace that closes it. The text is valid JSON. */
function endOfValue(text: string, position: number): number {
  let depth = 0;
  let index = position;
  for (;;) {
    const character = text[index] ?? "}";
    if (character === '"') {
      index += stringAt(text, index).length;
      continue;
    }
    if (depth === 0 && (character === "," || character === "}")) return index;
    if (character === "{" || character === "[") depth += 1;
    if (character === "}" || character === "]") depth -= 1;
    index += 1;
  }
}

function stringAt(text: string, position: number): string {
  jsonString.lastIndex = position;
  return jsonString.exec(text)?.[0] ?? "";
}

function boundaryOf(contentType: string): string {
  const [, quoted, plain] = /boundary=(?:"([^"]+)"|([^;]+))/i.exec(contentType) ?? [];
  const boundary = quoted ?? plain?.trim();
  if (boundary === undefined) throw new MalformedBodyError("boundary not found");
  return boundary;
}

/** The fields of a form. Files are skipped: no method of the emulator takes one. */
function readMultipart(body: Buffer, boundary: string, add: AddArgument): void {
  // latin1 keeps one character a byte, so that a part can be decoded by itself.
  const parts = `\r\n${body.toString("latin1")}`.split(`\r\n--${boundary}`).slice(1, -1);
  for (const part of parts) {
    const headersEnd = part.indexOf("\r\n\r\n");
    const disposition = /^content-disposition:.*$/im.exec(part.slice(0, Math.max(headersEnd, 0)))?.[0] ?? "";
    const name = /\bname="?([^";]+)/i.exec(disposition)?.[1];
    if (name === undefined) throw new MalformedBodyError("field name in multipart/form-data not found");
    if (/\bfilename=/i.test(disposition)) continue;
    add(decode(name), decode(part.slice(headersEnd + 4)));
  }
}

function decode(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString();
}
