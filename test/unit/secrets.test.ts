import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SafePollingError } from "../../src/errors.js";
import { consoleLogger } from "../../src/logger.js";
import {
  describeError,
  keepSecret,
  keepUrlSecrets,
  knownSecrets,
  redact,
  redactText,
} from "../../src/redact.js";

/** The ways in which libraries put a secret into what they say. */
const sinks: Record<string, (secret: string) => string> = {
  "a connection string": (secret) => `cannot connect to postgres://bot:${secret}@db:5432/bots`,
  "the tail of one, where it was cut at an @": (secret) =>
    `getaddrinfo ENOTFOUND ${secret.slice(secret.indexOf("@") + 1).toLowerCase()}@db`,
  "the pieces between the signs of a URL": (secret) => secret.split(/[@:/?#[\]\s]/).join("\n"),
  "percent-encoded": (secret) => `GET /x?auth=${encodeURIComponent(secret)} failed`,
  "percent-encoded by new URL()": (secret) => {
    const text = `redis://bot:${secret.replace(/%/g, "%25")}@db:5432`;
    return URL.canParse(text) ? new URL(text).href : "not a URL";
  },
  "a header of HTTP": (secret) => `authorization: Basic ${Buffer.from(`bot:${secret}`).toString("base64")}`,
  base64url: (secret) => `jwt ${Buffer.from(secret).toString("base64url")}`,
  JSON: (secret) => JSON.stringify({ auth: secret }),
  "an inspected object": (secret) => inspect({ auth: secret }),
  "a parameter": (secret) => `postgres://db/x?password=${encodeURIComponent(secret)}&sslmode=require`,
  keywords: (secret) => `host=db password=${secret.replace(/\s/g, "")} dbname=x`,
};

/** High entropy: of all printable signs, the delimiters of URLs among them. */
const password = fc
  .string({
    unit: fc.constantFrom(..."abXY019@:/?#%&'\"\\ =+[]<>|$é".split("")),
    minLength: 10,
    maxLength: 24,
  })
  .filter((text) => text.trim() === text && new Set(text).size > 7);
const token = fc
  .string({ unit: fc.constantFrom(..."abcXYZ0189_-".split("")), minLength: 35, maxLength: 35 })
  .map((secret) => `123456789:${secret}`);

/** The four-character pieces of a secret that a text shows, and would not show with another secret. */
function shownPieces(told: (secret: string) => string, secret: string): string[] {
  const text = told(secret)
    .replace(/<(secret|token|password)>/g, "\n")
    .toLowerCase();
  const ordinary = told("").toLowerCase();
  const own = secret.replace(/^\d+:/, "").toLowerCase();
  const pieces = Array.from({ length: own.length - 3 }, (_, index) => own.slice(index, index + 4));
  // Blanks indent what is printed.
  const isShown = (piece: string) => text.includes(piece) && !ordinary.includes(piece);
  return pieces.filter((piece) => !/\s/.test(piece) && isShown(piece));
}

describe("a secret that is known", () => {
  for (const [name, sink] of Object.entries(sinks)) {
    it(`shows no four characters in ${name}`, () => {
      const tellings = [
        (secret: string) => redactText(sink(secret)),
        (secret: string) => {
          const inner = Object.assign(new Error(sink(secret)), { code: sink(secret) });
          const error = Object.assign(new Error(sink(secret), { cause: inner }), { name: sink(secret) });
          const thrown = new SafePollingError("ERR_TELEGRAM", "told", { cause: error });
          return inspect([redact(error), thrown], { depth: 10, showHidden: true });
        },
        (secret: string) => {
          const lines: string[] = [];
          const keep = (line: string) => void lines.push(line);
          const logger = consoleLogger({ log: keep, warn: keep, error: keep });
          logger.warn({ error: describeError(new Error(sink(secret))) }, "trouble");
          return lines.join("\n");
        },
        (secret: string) => {
          const lines: string[] = [];
          const keep = (line: string) => void lines.push(line);
          const sinks = { log: keep, warn: keep, error: keep };
          const logger = consoleLogger(sinks, { level: "debug", isJson: true });
          const error = describeError(new Error(sink(secret)));
          logger.error({ error, nested: [{ error }], stack: redactText(sink(secret)) }, error);
          expect(JSON.parse(lines[0] as string)).toMatchObject({ level: "error", nested: [{}] });
          return lines.join("\n");
        },
      ];
      fc.assert(
        fc.property(fc.oneof(password, token), (secret) => {
          knownSecrets.clear();
          keepSecret(secret);
          for (const told of tellings) expect(shownPieces(told, secret)).toEqual([]);
        }),
        { numRuns: 40 },
      );
    });
  }

  it("shows no four characters in what a logger is given unredacted, as text and as JSON", () => {
    for (const isJson of [false, true]) {
      const told = (secret: string) => {
        const lines: string[] = [];
        const keep = (line: string) => void lines.push(line);
        const logger = consoleLogger({ log: keep, warn: keep, error: keep }, { level: "info", isJson });
        logger.warn({ holder: `x ${secret} y`, list: [secret] }, `of ${secret}`);
        return lines.join("\n").replace(/20\d\d-[^"]*Z/, "");
      };
      fc.assert(
        fc.property(fc.oneof(password, token), (secret) => {
          knownSecrets.clear();
          keepSecret(secret);
          expect(shownPieces(told, secret)).toEqual([]);
        }),
        { numRuns: 40 },
      );
    }
  });

  it("is known from a connection string, up to the last @, and from its parameters", () => {
    keepUrlSecrets("postgres://bot:p@ssw0rd-T%40il9@db:5432/x?sslmode=require&password=0ther-Pa55");

    expect(redactText("ENOTFOUND ssw0rd-T%40il9 p@ssw0rd-T@il9 0ther-Pa55")).toBe(
      "ENOTFOUND <secret> <secret> <secret>",
    );
  });
});

describe("a secret that is too short or an ordinary word", () => {
  it("hides nothing: it stands in other words, and to hide it there would tell it", () => {
    for (const word of ["1", "a:1", "abc", "", "postgres"]) keepSecret(word);

    expect(redactText("11 of 12 answers of postgres, a:1")).toBe("11 of 12 answers of postgres, a:1");
  });
});

describe("what nobody has told us", () => {
  it("is found by its pattern: tokens, encoded ones too, userinfo up to the last @, parameters", () => {
    const unknown = `987654321:${"Qw_-7".repeat(7)}`;
    expect(redactText(`at /bot${encodeURIComponent(unknown)}/getMe and ${encodeURIComponent(unknown)}`)).toBe(
      "at /bot<token>/getMe and <token>",
    );
    expect(redactText("postgres://bot:p@ss:w0rd@Tail@db/x failed")).toBe(
      "postgres://bot:<password>@db/x failed",
    );
    expect(redactText("redis://db:6379?password=abc&x=1 and user=me password='a b' x")).toBe(
      "redis://db:6379?password=<password>&x=1 and user=me password=<password> x",
    );
  });
});

describe("the console", () => {
  it("shows control characters of others' labels as text, on one line", () => {
    const lines: string[] = [];
    const keep = (line: string) => void lines.push(line);
    const logger = consoleLogger({ log: keep, warn: keep, error: keep });

    logger.info({ holder: "web\u001b[2J\u009b31m\u202e\r\nfake" }, "stands by");

    expect(lines).toEqual([
      "[safe-polling] stands by (holder=web\\u001b[2J\\u009b31m\\u202e\\u000d\\u000afake)",
    ]);
  });

  it("rounds numbers, and shows no field named token", () => {
    const lines: string[] = [];
    const keep = (line: string) => void lines.push(line);
    const logger = consoleLogger({ log: keep, warn: keep, error: keep });

    logger.warn({ attempt: 1, delayMs: 4657.785920723773, token: 1764210000000 }, "waiting");

    expect(lines).toEqual(["[safe-polling] waiting (attempt=1, delayMs=4658)"]);
  });
});
