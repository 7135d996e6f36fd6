export { type FileLockOptions, fileLock } from "../lock/file/file-lock.js";
