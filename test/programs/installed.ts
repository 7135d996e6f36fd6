import { installRuntimes } from "../runtimes/install.js";
import { installPrograms } from "./install.js";

await Promise.all([installRuntimes(), installPrograms()]);
