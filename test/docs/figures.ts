import { contenders } from "../bench/contenders.js";
import { pageOfKept } from "../bench/write-page.js";
import { mutants } from "../mutation/mutants.js";
import { withMutants } from "../mutation/proof-table.js";
import { seededBugs } from "../simulation/seeded-bugs.js";
import { documentation } from "../tools/markdown.js";

/** What stands in a page between `<!-- figure: NAME -->` and `<!-- end -->`. */
const figures: Readonly<Record<string, number>> = {
  mutants: mutants.length,
  "seeded bugs": seededBugs.length,
  "other ways": contenders.filter(({ isOurs }) => !isOurs).length,
};
const place = /(<!-- figure: ([\w ]+) -->).*?(<!-- end -->)/g;

/** Every page, as it is and as it must be. */
export function pagesWithFigures(): { path: string; text: string; expected: string }[] {
  return documentation().map(({ path, text }) => ({ path, text, expected: expectedText(path, text) }));
}

function expectedText(path: string, text: string): string {
  if (path === "docs/benchmarks.md") return pageOfKept();
  const page = path === "docs/proof.md" ? withMutants(text) : text;
  return page.replace(place, (_, before: string, name: string, after: string) => {
    if (figures[name] === undefined) throw new Error(`${path}: there is no figure "${name}"`);
    return `${before}${figures[name]}${after}`;
  });
}
