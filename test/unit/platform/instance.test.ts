import { hostname, tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { platformFacts } from "../../../src/platform/instance.js";
import { separateDiskReason } from "../../../src/platform/shared-disk.js";

describe("the label of an instance", () => {
  const cases: [env: Record<string, string>, instance: string, platform: string | undefined][] = [
    [{ RENDER: "true", RENDER_INSTANCE_ID: "srv-abc-7f9" }, "render:srv-abc-7f9:42", "render"],
    [{ RAILWAY_REPLICA_ID: "r1", RAILWAY_DEPLOYMENT_ID: "d1" }, "railway:r1:42", "railway"],
    [{ FLY_APP_NAME: "bot", FLY_MACHINE_ID: "m1" }, "fly:m1:42", "fly"],
    [{ KOYEB_INSTANCE_ID: "k1" }, "koyeb:k1:42", "koyeb"],
    [{ DYNO: "worker.1" }, "heroku:worker.1:42", "heroku"],
    [{ DYNO: "worker.1", HEROKU_DYNO_ID: "id1" }, "heroku:id1:42", "heroku"],
    [{ POD_NAME: "bot-5d", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "kubernetes:bot-5d:42", "kubernetes"],
    [{ HOSTNAME: "bot-5d", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "bot-5d:42", "kubernetes"],
    [{ K_REVISION: "rev-1" }, "cloud-run:rev-1:42", "cloud-run"],
    [{ pm_id: "0" }, "pm2:0:42", "pm2"],
    [{ HOSTNAME: "box" }, "box:42", undefined],
    [{}, `${hostname()}:42`, undefined],
  ];
  for (const [env, instance, platform] of cases) {
    it(`is ${instance} where ${JSON.stringify(env)}`, () => {
      expect(platformFacts(env, 42)).toMatchObject({ instance, platform });
    });
  }

  it("comes with the revision of the code, where the platform tells it", () => {
    expect(platformFacts({ RENDER_GIT_COMMIT: "abc" }).revision).toBe("abc");
    expect(platformFacts({ FLY_IMAGE_REF: "registry/bot:7" }).revision).toBe("registry/bot:7");
    expect(platformFacts({}).revision).toBeUndefined();
  });
});

describe("a lock file", () => {
  it("reaches nobody on platforms whose instances have a disk of their own", () => {
    for (const env of [
      { RENDER: "true" },
      { RAILWAY_PROJECT_ID: "p" },
      { FLY_APP_NAME: "a" },
      { DYNO: "web.1" },
    ]) {
      expect(separateDiskReason(tmpdir(), env)).toMatch(/has a disk of its own/);
    }
  });

  it("in a directory that is still to be made is judged by the one above", () => {
    expect(separateDiskReason("/proc/nowhere/at/all", {})).toBeUndefined();
  });
});
