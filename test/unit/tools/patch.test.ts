import { expect, it } from "vitest";
import { lostAnchors, patched } from "../../tools/patch.js";

const patch = { file: "src/clock.ts", find: "return one + two;", replace: "return one;" };

it("puts the replacement in the anchor's place, and changes nothing else", () => {
  expect(patched(patch, "{\n  return one + two;\n}")).toBe("{\n  return one;\n}");
});

it("finds an anchor whose line was wrapped meanwhile", () => {
  expect(patched(patch, "return one +\n    two;")).toBe("return one;");
});

it("takes $ in a replacement as it is", () => {
  expect(patched({ ...patch, replace: "$& $1" }, "return one + two;")).toBe("$& $1");
});

it("throws for an anchor that is gone, or ambiguous", () => {
  expect(() => patched(patch, "return two + one;")).toThrow("its anchor is no longer in src/clock.ts");
  expect(() => patched(patch, "return one + two; return one + two;")).toThrow(
    "its anchor is 2 times in src/clock.ts",
  );
});

it("names what has lost its anchor, and the list to mend", () => {
  const breakages = [
    { name: "time runs back", patches: [{ ...patch, find: "no such line" }] },
    { name: "it is all right", patches: [{ ...patch, find: "export" }].slice(1) },
  ];

  expect(lostAnchors("mutant", breakages, "test/mutation/mutants.ts")).toEqual([
    'mutant "time runs back": its anchor is no longer in src/clock.ts; mend test/mutation/mutants.ts. It was: no such line',
  ]);
});
