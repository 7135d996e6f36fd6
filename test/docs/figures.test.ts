import { expect, it } from "vitest";
import { pagesWithFigures } from "./figures.js";

it.each(pagesWithFigures())("the figures in $path are those that are counted (npm run figures)", (page) => {
  expect(page.text).toBe(page.expected);
});
