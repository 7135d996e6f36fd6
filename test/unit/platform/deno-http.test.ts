import { Bot } from "grammy";
import { Bot as WebBot } from "grammy/web";
import { expect, test, vi } from "vitest";
import { warnOfDenoHttp } from "../../../src/platform/deno-http.js";

const onDeno = { Deno: {} };
const token = "1:token";

async function warnings(bot: object, runtime?: object): Promise<string[]> {
  const warn = vi.fn();
  await warnOfDenoHttp(bot, { debug() {}, info() {}, warn, error() {} }, runtime);
  return warn.mock.calls.map(([, message]) => message);
}

test("grammY's build for Node.js on Deno is warned of, with the fix", async () => {
  expect(await warnings(new Bot(token), onDeno)).toEqual([expect.stringContaining('"grammy/web"')]);
});

test.each([
  ["its web build", new WebBot(token), onDeno],
  ["an agent of the user's", new Bot(token, { client: { baseFetchConfig: { agent: undefined } } }), onDeno],
  ["Node.js", new Bot(token), undefined],
])("%s is not", async (_name, bot, runtime) => {
  expect(await warnings(bot, runtime)).toEqual([]);
});
