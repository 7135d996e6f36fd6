import assert from "node:assert/strict";
import type { Checks } from "./options.js";

export const tokenChecks: Checks = {
  "tokens grow with every holder": async (bench) => {
    const peers = [await bench.connect(), await bench.connect(bench.another), await bench.connect()];
    const tokens: number[] = [];

    for (let round = 0; round < 4; round += 1) {
      for (const peer of peers) {
        tokens.push(await peer.grant(bench.key()));
        await peer.release(bench.key());
      }
    }

    assertGrowing(tokens);
  },

  "tokens grow over closed connections": async (bench) => {
    const tokens: number[] = [];

    for (let round = 0; round < 3; round += 1) {
      const peer = await bench.connect(round % 2 === 0 ? bench.another : bench.fixture.backend);
      tokens.push(await peer.grantSoon(bench.key()));
      await peer.close();
    }

    assertGrowing(tokens);
  },
};

function assertGrowing(tokens: readonly number[]): void {
  for (const [index, token] of tokens.entries()) {
    assert(Number.isSafeInteger(token), `${token} is a safe integer`);
    const before = tokens[index - 1];
    assert(before === undefined || token > before, `each token is larger than the one before: ${tokens}`);
  }
}
