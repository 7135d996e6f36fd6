import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applicationName,
  holderFromName,
  namePrefix,
} from "../../../../src/lock/postgres/application-name.js";
import { asConfigError } from "../../../../src/lock/postgres/connect-errors.js";
import { originalKey, storedKey } from "../../../../src/lock/postgres/lease-sql.js";
import { identifier, keyNumber, literal } from "../../../../src/lock/postgres/sql.js";

const letters = ["a", "Z", "7", ":", " ", "é", "机", "🤖", "\0", "\n", "\\", "'", '"', "%", "\ud800"];
const hostile = fc.string({ unit: fc.constantFrom(...letters) });

describe("applicationName()", () => {
  it("is gsp1:<owner>:<revision>:<instance>", () => {
    const owner = "web-1:31:0123abcd-1111-4222-8333-444455556666";
    expect(applicationName({ owner, instance: "web-1:31", revision: "abcdef0123" })).toBe(
      "gsp1:0123abcd:abcdef0:web-1:31",
    );
    expect(applicationName({ owner, instance: "web", revision: undefined })).toBe("gsp1:0123abcd::web");
  });

  it("has at most 63 bytes of ASCII, begins with the owner's prefix, and can be read back", () => {
    fc.assert(
      fc.property(hostile, hostile, (instance, revision) => {
        const owner = `${instance}:${randomUUID()}`;
        const name = applicationName({ owner, instance, revision });
        expect(name).toMatch(/^[ -~]{15,63}$/);
        expect(name.startsWith(namePrefix(owner))).toBe(true);
        const ascii = [...instance.replace(/[^ -~]/g, "?")].join("");
        expect(ascii.startsWith(holderFromName(name).instance ?? "-")).toBe(true);
      }),
    );
  });

  it("tells owners apart that have no UUID", () => {
    expect(namePrefix("one")).toMatch(/^gsp1:[\da-f]{8}:$/);
    expect(namePrefix("one")).not.toBe(namePrefix("two"));
  });
});

it("holderFromName() knows sessions that are not ours by their name", () => {
  expect(holderFromName("psql")).toEqual({ instance: "psql" });
  expect(holderFromName("")).toEqual({});
});

describe("SQL", () => {
  it("has the documented number for a key", () => {
    // psql: SELECT ('x' || left(encode(sha256('gsp:v1:123456789'), 'hex'), 16))::bit(64)::bigint
    expect(keyNumber("123456789")).toBe("5487624217983496061");
    expect(BigInt.asIntN(64, BigInt(keyNumber("имя")))).toBe(BigInt(keyNumber("имя")));
  });

  it("quotes what is hostile", () => {
    expect(literal("it's")).toBe("'it''s'");
    expect(literal("back\\slash'")).toBe(" E'back\\\\slash'''");
    expect(literal("nul\0")).toBe("'nul'");
    expect(identifier('a"b')).toBe('"a""b"');
  });

  it("stores any key, and bot ids as they are", () => {
    expect(storedKey("123456789")).toBe("123456789");
    fc.assert(
      fc.property(hostile, (key) => {
        expect(storedKey(key)).not.toContain("\0");
        expect(originalKey(storedKey(key))).toBe(key);
      }),
    );
    expect(originalKey(storedKey("\ud800"))).toBe("\ud800");
  });
});

describe("asConfigError()", () => {
  const failure = (code: string | undefined, message = "…") => Object.assign(new Error(message), { code });

  it.each([
    ["28P01", "password"],
    ["28000", "pg_hba.conf"],
    ["3D000", "Create the database"],
    ["42501", "Grant"],
    ["25006", "primary"],
    ["0A000", "PostgreSQL 13"],
    ["42601", "PostgreSQL 13"],
    ["SELF_SIGNED_CERT_IN_CHAIN", "`ssl`"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "a name that is in the server's certificate"],
  ])("has a fix for %s", (code, fix) => {
    const error = asConfigError(failure(code)) as Error;
    expect(error).toMatchObject({ code: "ERR_LOCK_CONFIG" });
    expect(error.message).toContain(fix);
  });

  it("says whose limit it is that ends the first questions, which may pass", () => {
    const error = asConfigError(failure("57014", "canceling statement due to statement timeout")) as Error;
    expect(error.message).toContain("statement timeout. Raise it for this role");
    expect(error).not.toHaveProperty("code");
  });

  it.each([
    "57P03",
    "57P01",
    "53300",
    "08006",
    "08P01",
    "XX000",
    "ECONNREFUSED",
    "ENOTFOUND",
    "ETIMEDOUT",
    undefined,
  ])("leaves %s alone: it may pass", (code) => {
    const error = failure(code);
    expect(asConfigError(error)).toBe(error);
  });
});
