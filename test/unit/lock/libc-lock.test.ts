import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { type Libc, libcLock } from "../../../src/lock/file/kernel-lock.js";

/** A C library that answers every call alike and keeps what it was asked. */
function fakeLibc(answer: number, errno = 0) {
  const calls: unknown[] = [];
  const libc: Libc = {
    fcntl: (fd, command, { buffer }) => {
      calls.push({ fd, command, type: new DataView(buffer).getInt16(0, true), bytes: buffer.byteLength });
      return answer;
    },
    flock: (fd, operation) => {
      calls.push({ fd, operation });
      return answer;
    },
    errno: () => errno,
  };
  return { libc, calls };
}

describe("the kernel lock of Bun and Deno", () => {
  test("is an open file description lock over the whole file on Linux", () => {
    const { libc, calls } = fakeLibc(0);
    const lock = libcLock(libc, "linux");

    lock.tryLock(7);
    lock.tryLock(7, { shared: true });
    lock.unlock(7);

    // F_OFD_SETLK with F_WRLCK, F_RDLCK, F_UNLCK; struct flock has 32 bytes.
    expect(calls).toEqual([1, 0, 2].map((type) => ({ fd: 7, command: 37, type, bytes: 32 })));
  });

  test("is flock, which never waits, on macOS", () => {
    const { libc, calls } = fakeLibc(0);
    const lock = libcLock(libc, "darwin");

    lock.tryLock(7);
    lock.tryLock(7, { shared: true });
    lock.unlock(7);

    // LOCK_EX | LOCK_NB, LOCK_SH | LOCK_NB, LOCK_UN.
    expect(calls).toEqual([6, 5, 8].map((operation) => ({ fd: 7, operation })));
  });

  test.each(["linux", "darwin"] as const)("is refused when another has it (%s)", (platform) => {
    const { libc } = fakeLibc(-1, constants.errno.EAGAIN);

    expect(libcLock(libc, platform).tryLock(7)).toBe(false);
  });

  test.each(["ENOLCK", "EBADF"] as const)("throws %s, which is no refusal", (code) => {
    const { libc } = fakeLibc(-1, constants.errno[code]);
    const lock = libcLock(libc, "linux");

    expect(() => lock.tryLock(7)).toThrow(expect.objectContaining({ code }));
    expect(() => lock.unlock(7)).toThrow(expect.objectContaining({ code }));
  });
});
