import { describe, expect, it } from "vitest";
import type { RenderApiClient } from "../../../src/render/api-client.js";
import { readEnvironment, readEnvironmentGroups } from "../../../src/render/duplicates.js";
import { readSigns } from "../../../src/render/facts.js";
import { listServices, readDeploys, readInstances, readService } from "../../../src/render/services.js";
import recorded from "../../tools/render/recorded-answers.json" with { type: "json" };
import { RenderStandIn } from "../../tools/render/stand-in.js";

/** A client whose every answer is the recorded one. */
function answering(answer: unknown): RenderApiClient {
  const list = async (_: string, name: string) =>
    (answer as Record<string, unknown>[]).map((entry) => entry[name] ?? entry);
  return { get: async () => answer, list } as unknown as RenderApiClient;
}

const workerId = "srv-d1cccccccccccccccc20";

describe("what is read of the recorded answers", () => {
  it("services", async () => {
    const [web, worker] = await listServices(answering(recorded["GET /services"]));
    expect(web).toMatchObject({
      id: "srv-d1bbbbbbbbbbbbbbbb10",
      name: "acme-bot",
      type: "web_service",
      ownerId: "tea-d1aaaaaaaaaaaaaaaa00",
      region: "frankfurt",
      createdAt: Date.parse("2026-03-01T09:00:00.123Z"),
      isSuspended: false,
      isPreview: false,
      numInstances: 1,
      autoscaling: undefined,
      shutdownDelayMs: 60_000,
      hasDisk: false,
      host: "acme-bot.onrender.com",
    });
    expect(worker).toMatchObject({ numInstances: 2, shutdownDelayMs: 30_000, host: undefined });
    expect(worker?.autoscaling).toEqual({
      min: 1,
      max: 3,
      config: recorded["PUT /services/{serviceId}/autoscaling"],
    });
  });

  it("a suspended service with a disk", async () => {
    const service = await readService(answering(recorded["GET /services/{serviceId}"]), workerId);
    expect(service).toMatchObject({ id: workerId, isSuspended: true, hasDisk: true });
  });

  it("deploys and instances", async () => {
    const deploys = await readDeploys(answering(recorded["GET /services/{serviceId}/deploys"]), workerId);
    expect(deploys.map(({ id, status }) => [id, status])).toEqual([
      ["dep-d1eeeeeeeeeeeeeeee40", "live"],
      ["dep-d1ffffffffffffffff50", "deactivated"],
    ]);
    expect(deploys[0]?.finishedAt).toBe(Date.parse("2026-03-02T10:31:30.250Z"));
    const instances = await readInstances(
      answering(recorded["GET /services/{serviceId}/instances"]),
      workerId,
    );
    expect(instances.map(({ id }) => id)).toEqual([`${workerId}-7k2mq`, `${workerId}-x9d4t`]);
  });

  it("variables, of which only their names are kept", async () => {
    const answer = recorded["GET /services/{serviceId}/env-vars"];
    const uses = await readEnvironment(answering(answer), workerId, "123456:plain-secret");
    expect([...uses]).toEqual([
      ["BOT_TOKEN", "same"],
      ["NODE_ENV", undefined],
    ]);
  });

  it("groups of variables, by the services that they are linked to", async () => {
    const list = recorded["GET /env-groups"];
    const group = recorded["GET /env-groups/{envGroupId}"];
    const client = { list: answering(list).list, get: async () => group } as unknown as RenderApiClient;
    const groups = await readEnvironmentGroups(client, new Set([workerId]), "1:x");
    expect(groups).toEqual([
      { serviceIds: [workerId], variables: new Map([["REDIS_URL", undefined]]), files: undefined },
    ]);
    expect(await readEnvironmentGroups(client, new Set(["srv-other"]), "1:x")).toEqual([]);
  });

  it("logs, those without lines and with null included", async () => {
    const [web] = await listServices(answering(recorded["GET /services"]));
    const read = (answer: unknown) => readSigns(answering(answer), { ...web!, id: workerId }, [], 0);
    expect(await read(recorded["GET /logs"])).toEqual([]);
    expect(await read({ hasMore: false, logs: null })).toEqual([]);
    const [, line] = recorded["GET /logs"].logs;
    const told = { ...line, message: "[safe-polling] @my_bot: this instance polls now (by=handover)" };
    // Three questions get the one line, which counts once.
    expect(await read({ hasMore: false, logs: [told] })).toEqual([
      {
        sign: "start",
        serviceId: workerId,
        instance: `${workerId}-7k2mq`,
        at: Date.parse("2026-03-02T10:31:05.412Z"),
      },
    ]);
  });
});

describe("the stand-in", () => {
  it("answers with the fields of the recorded answers", async () => {
    await using render = await RenderStandIn.start();
    const service = render.addService({ numInstances: 2, envVars: { A: "b" } });
    render.addDeploy(service, "live");
    const get = async (path: string) => {
      const answer = await fetch(`${render.url}${path}`, {
        headers: { authorization: `Bearer ${render.apiKey}` },
      });
      return { headers: answer.headers, body: JSON.parse(await answer.text()) };
    };
    const { headers, body: services } = await get("/services");
    const keys = (value: object | undefined) => Object.keys(value ?? {});
    const worker = recorded["GET /services"][1]?.service;

    expect(headers.get("ratelimit-limit")).toBe("400");
    expect(headers.get("ratelimit-remaining")).toBe("399");
    expect(Number(headers.get("ratelimit-reset"))).toBeLessThanOrEqual(60);
    expect(keys(services[0].service)).toEqual(expect.arrayContaining(keys(worker)));
    const { autoscaling: _, ...details } = worker?.serviceDetails ?? {};
    expect(keys(services[0].service.serviceDetails)).toEqual(expect.arrayContaining(keys(details)));
    const { body: deploys } = await get(`/services/${service.id}/deploys`);
    expect(keys(deploys[0].deploy)).toEqual(
      expect.arrayContaining(keys(recorded["GET /services/{serviceId}/deploys"][0]?.deploy)),
    );
    const { body: instances } = await get(`/services/${service.id}/instances`);
    expect(keys(instances[0])).toEqual(keys(recorded["GET /services/{serviceId}/instances"][0]));
    const { body: variables } = await get(`/services/${service.id}/env-vars`);
    expect(variables).toMatchObject([{ envVar: { key: "A", value: "b" }, cursor: expect.any(String) }]);
  });
});
