import { expect, it } from "vitest";
import { defaultLock } from "../../../src/lock/default-lock.js";
import { fileLock } from "../../../src/lock/file/file-lock.js";

it("the default lock says of itself what fileLock() says", () => {
  const { connect: _, unsharedReason: ownReason, ...own } = defaultLock();
  const { connect: __, unsharedReason: fileReason, ...file } = fileLock();

  expect(own).toEqual(file);
  expect(ownReason?.()).toBe(fileReason?.());
});
