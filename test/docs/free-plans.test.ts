import { expect, it } from "vitest";
import { page } from "../tools/markdown.js";

const { text } = page("docs/free-plans.md");
const secondsAMonth = 30 * 24 * 3_600;
/** A holder beats four times a lease. */
const ofHolder = (leaseMs: number) => secondsAMonth / (leaseMs / 4 / 1_000);
const number = (written = "") => Number(written.replace(/[^\d.]/g, ""));

it.each([
  ["commands a month", 10_000],
  ["the same, `leaseMs: 30_000`", 30_000],
  ["the same, `leaseMs: 60_000`", 60_000],
])("docs/free-plans.md counts right: %s", (row, leaseMs) => {
  const [, holder, standby] = new RegExp(`^\\| ${row} \\| ([\\d ]+) \\| ([\\d ]+) \\|`, "m").exec(text) ?? [];

  expect(number(holder)).toBe(ofHolder(leaseMs));
  expect(number(standby)).toBe(secondsAMonth);
});

it("docs/free-plans.md counts right: what Neon and Upstash say, against what a bot needs", () => {
  const neon = { hours: secondsAMonth / 3_600, unit: 0.25, allowance: 100, price: 0.106 };
  expect(text).toContain(`${neon.hours} hours × ${neon.unit} = ${neon.hours * neon.unit} CU-hours`);
  expect(text).toContain(`after ${Math.floor(neon.allowance / neon.unit / 24)} days`);
  expect(text).toContain(`are ${(neon.hours * neon.unit * neon.price).toFixed(2)} $ a month`);

  const left = 500_000 - ofHolder(30_000);
  expect(text).toContain(
    `leaves ${left.toLocaleString("en").replace(",", " ")} commands: ${Math.floor(left / 3_600)} hours`,
  );
  const dollars = (commands: number) => `${((commands / 100_000) * 0.2).toFixed(2)} $`;
  expect(text).toContain(
    `holder ${dollars(ofHolder(10_000))} a month; with \`leaseMs: 30_000\` ${dollars(ofHolder(30_000))}. A standby all month ${dollars(secondsAMonth)}`,
  );
});
