import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { endpoints } from "../../../src/health/handler.js";
import type { SafePolling } from "../../../src/session/handle.js";
import type { Fault } from "../../../src/testing/bot-api/faults.js";
import { type VirtualInstance, VirtualWorld } from "../../tools/virtual-world.js";

interface ProbeSettings {
  readonly httpGet: { readonly path: string };
  readonly initialDelaySeconds?: number;
  readonly periodSeconds: number;
  readonly failureThreshold?: number;
}

const manifest = parse(
  readFileSync(new URL("../../../examples/platforms/kubernetes.yaml", import.meta.url), "utf8"),
);
const [container] = manifest.spec.template.spec.containers as {
  readonly livenessProbe: ProbeSettings;
  readonly readinessProbe: ProbeSettings;
}[];
const { replicas } = manifest.spec as { readonly replicas: number };

/** What a kubelet does with one probe of one pod: so many failures in a row are its end (or its being unready). */
class Kubelet {
  readonly verdicts: { readonly at: number; readonly pod: string; readonly body: string }[] = [];
  readonly #failures = new Map<VirtualInstance, number>();
  readonly #settings: ProbeSettings;

  constructor(settings: ProbeSettings | undefined) {
    if (!settings) throw new Error("the manifest has no such probe");
    this.#settings = settings;
  }

  async look(second: number, pods: ReadonlyMap<string, VirtualInstance>): Promise<void> {
    const { httpGet, initialDelaySeconds = 0, periodSeconds, failureThreshold = 3 } = this.#settings;
    if (second < initialDelaySeconds || (second - initialDelaySeconds) % periodSeconds !== 0) return;
    for (const [name, pod] of pods) {
      const served = endpoints(pod.session as unknown as SafePolling, undefined);
      const answer = await served.get(httpGet.path)?.(new URLSearchParams());
      const failures = answer?.status === 200 ? 0 : (this.#failures.get(pod) ?? 0) + 1;
      this.#failures.set(pod, failures);
      if (failures >= failureThreshold)
        this.verdicts.push({ at: second, pod: name, body: answer?.body ?? "404" });
    }
  }
}

const outages: Record<string, Omit<Fault, "times">> = {
  "every connection is reset": { kind: "reset-before" },
  "every request stays without an answer": { kind: "silent" },
  "every answer is a page of a proxy": { kind: "bad-gateway-html" },
  "every answer is a 502 in JSON": { kind: "bad-gateway" },
  "every call is told to wait for five minutes": { kind: "too-many-requests", retryAfter: 300 },
};

it("the same probes end and take out a pod whose polling has failed", async () => {
  const world = new VirtualWorld();
  const pods = new Map([["pod-1", world.start("pod-1")]]);
  await world.advance(5_000);
  world.api.revoke(world.account.id);
  const [liveness, readiness] = [
    new Kubelet(container?.livenessProbe),
    new Kubelet(container?.readinessProbe),
  ];
  for (let second = 0; second < 120; second += 1) {
    await world.advance(1_000);
    await liveness.look(second, pods);
    await readiness.look(second, pods);
  }

  expect(liveness.verdicts[0]?.body).toContain("polling has failed");
  expect(readiness.verdicts.at(-1)?.body).toContain("polling has failed");
});

describe("half an hour without Telegram, with the probes of examples/platforms/kubernetes.yaml", () => {
  for (const [name, fault] of Object.entries(outages)) {
    it(`no pod is killed or taken out when ${name}, nor one that starts meanwhile, and then they poll again`, async () => {
      const world = new VirtualWorld();
      const pods = new Map<string, VirtualInstance>();
      for (let pod = 1; pod <= replicas; pod += 1) pods.set(`pod-${pod}`, world.start(`pod-${pod}`));
      const [liveness, readiness] = [
        new Kubelet(container?.livenessProbe),
        new Kubelet(container?.readinessProbe),
      ];
      const letPass = async (from: number, until: number) => {
        for (let second = from; second < until; second += 1) {
          await world.advance(1_000);
          await liveness.look(second, pods);
          await readiness.look(second, pods);
        }
      };
      await letPass(0, 60);
      const outage = world.api.injectFault({ ...fault, times: null });
      await letPass(60, 600);
      pods.set("pod-new", world.start("pod-new"));
      await letPass(600, 1_860);
      const reports = [...pods.values()].map(({ session }) => session.health());
      const [poller, ...others] = reports.filter(({ state }) => state === "polling");
      expect(others).toEqual([]);
      expect(poller?.telegramTrouble).toBeDefined();
      outage.remove();
      world.push("after the outage");
      await letPass(1_860, 2_220);

      expect(liveness.verdicts).toEqual([]);
      expect(readiness.verdicts).toEqual([]);
      expect([...pods.values()].flatMap(({ handled }) => handled)).toHaveLength(1);
    });
  }
});
