import { installRuntimes } from "./install.js";

await installRuntimes();
