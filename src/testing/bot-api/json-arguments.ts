type AddArgument = (name: string, value: string) => void;

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
export function readJsonFields(text: string, add: AddArgument): void {
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
