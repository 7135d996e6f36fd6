import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSafePollingError, SafePollingError } from "../../src/errors.js";
import { describeError, redact, redactIfSecret, redactText } from "../../src/redact.js";
import { unreadable } from "../tools/unreadable.js";

const token = `123456789:${"AbC_-9".repeat(6)}`;

describe("redaction", () => {
  it("replaces the token in URLs and on its own, and passwords in connection strings", () => {
    expect(redactText(`GET https://api.telegram.org/bot${token}/getMe`)).toBe(
      "GET https://api.telegram.org/bot<token>/getMe",
    );
    expect(redactText(`token is ${token}.`)).toBe("token is <token>.");
    expect(redactText("postgres://me:s3cret@db:5432/x")).toBe("postgres://me:<password>@db:5432/x");
    expect(redactText("rediss://:s3cret@host")).toBe("rediss://:<password>@host");
  });

  it("leaves no token in a text, wherever it stands", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (before, after) => {
        expect(redactText(`${before} ${token} ${after}`)).not.toContain(token);
        expect(redactText(`${before}/bot${token}/${after}`)).not.toContain(token.split(":")[1]);
      }),
    );
  });

  it("copies an error with its nested ones, and nothing else of them", () => {
    const inner = Object.assign(new Error(`request to /bot${token}/getMe failed`), {
      code: "ECONNREFUSED",
      ctx: { token },
    });
    const outer = Object.assign(new Error("Network request failed"), {
      error: inner,
      ctx: { api: { token } },
    });

    const copy = redact(outer) as Error & { error: Error & { code: string } };

    expect(copy).toMatchObject({ message: "Network request failed" });
    expect(copy.error).toMatchObject({
      message: "request to /bot<token>/getMe failed",
      code: "ECONNREFUSED",
    });
    expect(JSON.stringify([copy, copy.error, copy.stack, copy.error.stack])).not.toContain(token);
    expect(Object.keys(copy)).not.toContain("ctx");
  });

  it("survives errors that contain themselves", () => {
    const error = Object.assign(new Error("loop"), { cause: undefined as unknown });
    error.cause = error;

    expect(redact(error)).toMatchObject({ message: "loop" });
  });

  it("leaves an error as it is where nothing of it is secret, however deep", () => {
    const plain = Object.assign(new RangeError("plain"), { details: { table: "users" } });
    const secret = Object.assign(new RangeError("secret"), { request: { url: `/bot${token}/getMe` } });

    expect(redactIfSecret(plain)).toBe(plain);
    expect(inspect(redactIfSecret(secret), { depth: 9 })).not.toContain(token);
  });

  it("describes anything that can be thrown in one line", () => {
    expect(describeError(new Error("plain"))).toBe("plain");
    expect(describeError(`text ${token}`)).toBe("text <token>");
    expect(describeError(undefined)).toBe("undefined");
    expect(describeError(redact({ code: "E_X" }))).toBe("{ code: 'E_X' }");
    expect(describeError(redact(Object.create(null)))).toBe("[Object: null prototype] {}");
    expect(describeError(Object.assign(new Error(""), { code: "ECONNRESET" }))).toBe("ECONNRESET");
    expect(describeError(Object.assign(new Error("outer"), { error: new Error("inner") }))).toBe(
      "outer (inner)",
    );
  });

  it.each(unreadable)("survives what throws when it is read: $what", ({ make }) => {
    expect(describeError(make())).not.toBe("");
    expect(redact(make())).toMatchObject({ message: "an unreadable error" });
  });

  it("says the code of network errors that have no message", () => {
    const twoAddresses = new AggregateError([Object.assign(new Error("connect"), { code: "ECONNREFUSED" })]);
    const fetchError = Object.assign(new Error("request to x failed, reason: "), { code: "ECONNREFUSED" });
    const outer = (error: Error) => Object.assign(new Error("Network request failed!"), { error });

    expect(describeError(twoAddresses)).toBe("ECONNREFUSED");
    expect(describeError(outer(twoAddresses))).toBe("Network request failed! (ECONNREFUSED)");
    expect(describeError(outer(fetchError))).toBe(
      "Network request failed! (request to x failed, reason:  ECONNREFUSED)",
    );
    const named = Object.assign(new Error("connect ECONNREFUSED ::1"), { code: "ECONNREFUSED" });
    expect(describeError(outer(named))).toBe("Network request failed! (connect ECONNREFUSED ::1)");
  });
});

describe("SafePollingError", () => {
  it("is known by its brand and code, not by its class", () => {
    const error = new SafePollingError("ERR_CONFLICT", "message");

    expect(isSafePollingError(error)).toBe(true);
    expect(isSafePollingError(error, "ERR_CONFLICT")).toBe(true);
    expect(isSafePollingError(error, "ERR_TELEGRAM")).toBe(false);
    expect(isSafePollingError(new Error("message"))).toBe(false);
    expect(isSafePollingError(undefined)).toBe(false);
  });

  it("keeps a redacted copy of its cause", () => {
    const cause = new Error(`/bot${token}/x`);

    const error = new SafePollingError("ERR_TELEGRAM", "message", { cause });

    expect(error.cause).not.toBe(cause);
    expect(error.cause).toMatchObject({ message: "/bot<token>/x" });
  });
});
