export { memoryLock } from "../lock/memory.js";
