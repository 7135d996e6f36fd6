import { afterEach, expect, it, vi } from "vitest";
import { botApi } from "../../../src/doctor/bot-api.js";

afterEach(() => void vi.unstubAllGlobals());

it.each([
  [false, "http://h/bot1:x/getMe"],
  [true, "http://h/bot1:x/test/getMe"],
])("a bot whose environment is that of tests (%s) is asked at %s", async (isTest, url) => {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (address: string) => {
    asked.push(address);
    return new Response('{"ok":true,"result":{}}');
  });

  await botApi({ apiRoot: "http://h/", token: "1:x", isTest }).call("getMe");

  expect(asked).toEqual([url]);
});
