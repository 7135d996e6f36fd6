import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { mutants } from "../mutation/mutants.js";

it.each(mutants)(
  "$file, where $breaks, has the snippet that is broken exactly once",
  ({ file, find, replace }) => {
    const source = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");

    expect(source.split(find)).toHaveLength(2);
    expect(replace).not.toBe(find);
  },
);
