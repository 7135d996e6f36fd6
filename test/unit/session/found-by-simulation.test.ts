import { beforeEach, describe, expect, it } from "vitest";
import { VirtualWorld } from "../../support/virtual-world.js";

let world: VirtualWorld;

beforeEach(() => {
  world = new VirtualWorld();
});

// Each of these was a bug that a seed of test/simulation told the story of.
describe("an instance", () => {
  it("that resigns confirms what it has handled: its successor does not handle it again", async () => {
    let finish = () => {};
    const a = world.start("a", { onMessage: () => new Promise<void>((resolve) => (finish = resolve)) });
    await world.advance(100);
    const b = world.start("b");
    await world.advance(5_000);
    world.push();
    await world.until(() => a.handled.length === 1);

    const resigned = a.session.resign();
    await world.advance(50);
    finish();
    await world.until(() => b.session.state === "polling");
    await resigned;
    await world.advance(1_000);

    expect(a.handled).toEqual([5_000_000]);
    expect(b.handled).toEqual([]);
    expect(world.api.counters()).toMatchObject({ confirmed: 1, repeatedAnswers: 0 });
  });
});
