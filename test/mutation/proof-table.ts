import { type Mutant, mutants } from "./mutants.js";

/** Stands between two marks of docs/proof.md. */
const table = /<!-- mutants -->[\s\S]*<!-- end of mutants -->/;

/** The page with a row for each mutant: what became of it in this run, else in the one that the page tells of. */
export function withMutants(page: string, outcomes: ReadonlyMap<Mutant, string> = new Map()): string {
  const told = new Map<string, string>();
  for (const [, breaks = "", outcome = ""] of page.matchAll(/^\| `[^`]*` \| (.*?) \| (.*?) \|$/gm))
    told.set(breaks, outcome);
  const rows = mutants.map((mutant) => {
    const { file, breaks, survivesBecause } = mutant;
    const outcome = outcomes.get(mutant) ?? told.get(breaks) ?? "not tried yet";
    const because = outcome === "survived" && survivesBecause ? `: ${survivesBecause}` : "";
    return `| \`${file.replace("src/", "")}\` | ${breaks} | ${outcome}${because} |`;
  });
  const lines = ["<!-- mutants -->", "| in | what is broken | |", "| --- | --- | --- |", ...rows];
  return page.replace(table, () => [...lines, "<!-- end of mutants -->"].join("\n"));
}
