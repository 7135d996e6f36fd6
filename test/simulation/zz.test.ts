import { it } from "vitest";
import { play } from "./play.js";
it("x", async () => {
  const from = Number(process.env.FROM ?? 0), n = Number(process.env.N ?? 50);
  const rules: Record<string, number[]> = {};
  const t0 = performance.now();
  let steps = 0, v = 0, rec = 0;
  for (let s = from; s < from + n; s++) {
    const o = await play(s, false);
    steps += o.steps; v += o.virtualMs; rec = Math.max(rec, o.counts.longestRecoveryMs ?? 0);
    if (o.violation) (rules[o.violation.rule] ??= []).push(s);
  }
  console.log(`${n} seeds ${(performance.now() - t0).toFixed(0)} ms, steps/seed ${steps / n}, virtual s/seed ${v / n / 1000} rec ${rec}`);
  for (const [r, s] of Object.entries(rules)) console.log(r, s.length, s.slice(0, 8).join(" "));
}, 600000);
it.runIf(process.env.SEED)("story", async () => {
  const o = await play(Number(process.env.SEED), true);
  console.log(o.lines.join("\n")); console.log(o.violation);
});
