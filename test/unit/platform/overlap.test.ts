import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { overlapOfPlatform, platformFacts } from "../../../src/platform/instance.js";

const page = readFileSync(new URL("../../../docs/platforms/README.md", import.meta.url), "utf8");
const rows =
  page
    .split("## The first deploy")[1]
    ?.split("\n## ")[0]
    ?.matchAll(/^\| (.+?) +\| (\d+) s/gm) ?? [];
const documentedMs = new Map(
  [...rows].flatMap(([, names = "", seconds]) =>
    names.split(", ").map((name) => [name, Number(seconds) * 1_000] as const),
  ),
);

const environments = {
  Render: { RENDER_INSTANCE_ID: "srv-1-a" },
  Railway: { RAILWAY_REPLICA_ID: "1" },
  Fly: { FLY_MACHINE_ID: "1" },
  Heroku: { DYNO: "worker.1" },
  Dokku: { DYNO: "web.1" },
  Koyeb: { KOYEB_INSTANCE_ID: "1" },
  Kubernetes: { KUBERNETES_SERVICE_HOST: "10.0.0.1" },
  ECS: { ECS_CONTAINER_METADATA_URI_V4: "http://169.254.170.2/v4/1" },
  "Cloud Run": { K_REVISION: "bot-00001" },
};

it.each(Object.entries(environments))(
  "a new version on %s tries for as long as the page says",
  (name, env) => {
    expect(overlapOfPlatform(platformFacts(env).platform)).toBe(documentedMs.get(name));
  },
);

it("on every other platform of the page it tries with the five attempts, 50 s", () => {
  const others = [...documentedMs].filter(([name]) => !(name in environments));
  expect(others.length).toBeGreaterThan(3);
  for (const [name, ms] of others) expect(ms, name).toBe(50_000);
  expect(overlapOfPlatform(platformFacts({ pm_id: "0" }).platform)).toBe(0);
  expect(overlapOfPlatform(platformFacts({}).platform)).toBe(0);
});
