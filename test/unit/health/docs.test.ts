import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { parse } from "yaml";

const docs = new URL("../../../docs/", import.meta.url);
const read = (page: string) => readFileSync(new URL(page, docs), "utf8");

it("docs/platforms/kubernetes.md sets the PORT that its probes ask", () => {
  const [, snippet = ""] = /```yaml\n(.*?)```/s.exec(read("platforms/kubernetes.md")) ?? [];
  const [container] = parse(snippet).spec.template.spec.containers;
  const { value } = container.env.find(({ name }: { name: string }) => name === "PORT");

  for (const probe of ["readinessProbe", "livenessProbe"]) {
    expect(String(container[probe].httpGet.port)).toBe(value);
  }
});

it("no page needs wget or curl inside an image: slim ones have neither", () => {
  for (const page of readdirSync(docs, { recursive: true, encoding: "utf8" })) {
    if (page.endsWith(".md"))
      expect([page, /HEALTHCHECK.*(wget|curl)/.test(read(page))]).toEqual([page, false]);
  }
});
