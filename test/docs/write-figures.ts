// npm run figures: writes into the pages what can be counted: mutants, samples of the benchmarks, limits of sizes.
import { writeFileSync } from "node:fs";
import { pathOf } from "../tools/patch.js";
import { pagesWithFigures } from "./figures.js";

for (const { path, text, expected } of pagesWithFigures()) {
  if (text === expected) continue;
  writeFileSync(pathOf(path), expected);
  console.log(`figures written into ${path}`);
}
