import { limits } from "./limits.js";

/** The arguments of a call, as text. Where a name comes twice, the first one counts (Query.h arg:56). */
export type Arguments = ReadonlyMap<string, string>;

/** Thrown for a request that is refused: the server answers a bare status and closes the connection. */
export class RefusedRequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The arguments that grammY sends for a payload: what is undefined is left out, what is no string becomes JSON. */
export function toArguments(payload: object): Arguments {
  const present = Object.entries(payload).filter(([, value]) => value !== undefined);
  return new Map(
    present.map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

/**
 * Reads the arguments of a request: those of the query string first, then those of the body. A JSON or urlencoded body
 * that breaks off counts as far as it goes; only a broken form is refused. HttpReader.cpp read_next:79-245.
 */
export function readArguments(query: string, body: Buffer, contentType: string): Arguments {
  const found = new Map<string, string>();
  const add = (name: string, value: string) => {
    if (!found.has(name)) found.set(name, value);
  };
  readParameters(query, add);
  if (body.length === 0) return found;

  const type = contentType.toLowerCase();
  if (type.includes("multipart/form-data")) {
    readMultipart(body, boundaryOf(contentType), add);
    return found;
  }
  const isUrlEncoded = type.includes("application/x-www-form-urlencoded");
  if (!isUrlEncoded && !type.includes("application/json")) return found;
  if (body.length + Buffer.byteLength(query) > limits.maxParameterBytes) {
    throw new RefusedRequestError(413, "too many parameters");
  }
  if (isUrlEncoded) readParameters(body.toString(), add);
  else readJsonFields(body.toString(), add);
  return found;
}

function readParameters(text: string, add: AddArgument): void {
  new URLSearchParams(text).forEach((value, name) => {
    add(name, value);
  });
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
  return ["true", "yes", "1"].includes(args.get(name)?.toLowerCase().trim() ?? "");
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

function boundaryOf(contentType: string): string {
  const [, quoted, plain] = /boundary=(?:"([^"]+)"|([^;]+))/i.exec(contentType) ?? [];
  const boundary = quoted ?? plain?.trim();
  if (boundary === undefined) throw new RefusedRequestError(400, "boundary not found");
  return boundary;
}

/** The fields of a form. Files are skipped: no method of the emulator takes one. */
function readMultipart(body: Buffer, boundary: string, add: AddArgument): void {
  // latin1 keeps one character a byte, so that a part can be decoded by itself.
  const [, ...parts] = `\r\n${body.toString("latin1")}`.split(`\r\n--${boundary}`);
  // The server waits for the rest until the client goes; an answer is of more use to a test.
  if (parts.pop()?.startsWith("--") !== true) throw new RefusedRequestError(400, "last boundary not found");
  for (const part of parts) {
    const headersEnd = part.indexOf("\r\n\r\n");
    const disposition = /^content-disposition:.*$/im.exec(part.slice(0, Math.max(headersEnd, 0)))?.[0] ?? "";
    const name = /\bname="?([^";]+)/i.exec(disposition)?.[1];
    if (name === undefined) throw new RefusedRequestError(400, "field name in multipart/form-data not found");
    if (/\bfilename=/i.test(disposition)) continue;
    add(decode(name), decode(part.slice(headersEnd + 4)));
  }
}

function decode(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString();
}

/** The text is not what it should be; what was read so far counts all the same. */
class UnexpectedTextError extends Error {}

/** DEFAULT_MAX_DEPTH, HttpReader.cpp parse_json_parameters:682. */
const maxDepth = 100;

const stringPattern = /"(?:[^"\\]|\\[\s\S])*"/y;
const plainPattern = /false|true|null|[-+.\d][-+.\deE]*/y;

/**
 * The fields of a flat JSON object: strings are decoded, every other value is passed on as it is written. What
 * follows the first mistake is left out; what came before counts. HttpReader.cpp parse_json_parameters:640, and
 * 216-229, where only 413 is an error.
 */
function readJsonFields(text: string, add: AddArgument): void {
  try {
    new FieldReader(text).read(add);
  } catch (error) {
    if (!(error instanceof UnexpectedTextError)) throw error;
  }
}

/** Reads as td's parsers do, from left to right. JsonBuilder.cpp do_json_skip:416. */
class FieldReader {
  readonly #text: string;
  #position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(add: AddArgument): void {
    if (this.#next() === '"') {
      const content = this.#string();
      if (this.#position === this.#text.length) add("content", content);
      return;
    }
    this.#expect("{");
    while (!this.#skip("}")) {
      const name = this.#string();
      this.#expect(":");
      add(name, this.#next() === '"' ? this.#string() : this.#raw());
      if (this.#next() !== "}") this.#expect(",");
    }
  }

  /** The next character that is no blank. */
  #next(): string | undefined {
    while (" \t\r\n".includes(this.#text[this.#position] ?? "-")) this.#position += 1;
    return this.#text[this.#position];
  }

  #skip(character: string): boolean {
    if (this.#next() !== character) return false;
    this.#position += 1;
    return true;
  }

  #expect(character: string): void {
    if (!this.#skip(character)) throw new UnexpectedTextError(`"${character}" expected`);
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#position;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw new UnexpectedTextError("a value expected");
    this.#position += found.length;
    return found;
  }

  #string(): string {
    this.#next();
    // Unlike JSON.parse, the server takes line breaks and their like as they are.
    const literal = this.#match(stringPattern).replace(/[\n\r\t]/g, (blank) =>
      JSON.stringify(blank).slice(1, -1),
    );
    try {
      return JSON.parse(literal);
    } catch {
      throw new UnexpectedTextError("a string expected");
    }
  }

  #raw(): string {
    const start = this.#position;
    this.#value(maxDepth);
    return this.#text.slice(start, this.#position);
  }

  #value(depth: number): void {
    if (depth < 0) throw new UnexpectedTextError("too deep");
    const next = this.#next();
    if (next === '"') this.#match(stringPattern);
    else if (this.#skip("[")) this.#items("]", () => this.#value(depth - 1));
    else if (this.#skip("{")) {
      this.#items("}", () => {
        this.#next();
        this.#match(stringPattern);
        this.#expect(":");
        this.#value(depth - 1);
      });
    } else this.#match(plainPattern);
  }

  #items(end: string, item: () => void): void {
    if (this.#skip(end)) return;
    for (;;) {
      item();
      if (this.#skip(end)) return;
      this.#expect(",");
    }
  }
}
