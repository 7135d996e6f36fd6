/** What is used of it; the package has no types of its own. */
declare module "fs-native-extensions" {
  /** False: another open file description holds a conflicting lock. The whole file, on every platform. */
  export function tryLock(fd: number, options?: { shared?: boolean }): boolean;
  export function unlock(fd: number): void;
}
