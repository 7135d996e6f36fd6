import { expect, it } from "vitest";
import { createGate } from "../../../src/polling/gate.js";
import { VirtualTime } from "../../tools/virtual-time.js";

/** A gate in a process whose turns of the event loop take these times, in milliseconds, and then none. */
function gateWithTurns(...turnsMs: number[]) {
  const time = new VirtualTime();
  let turns = 0;
  let isTrusted = true;
  const gate = createGate(
    time.clock(),
    async () => {
      turns += 1;
      time.nowMs += turnsMs.shift() ?? 0;
    },
    () => isTrusted,
  );
  return {
    gate,
    time,
    turns: () => turns,
    lose: () => {
      isTrusted = false;
    },
  };
}

it("looks at what has arrived, in two turns, before it opens for the first time", async () => {
  const { gate, turns } = gateWithTurns(25, 25);

  expect(await gate.isOpen()).toBe(true);

  expect(turns()).toBe(2);
});

it("looks again in a process that stood still meanwhile", async () => {
  const { gate, turns } = gateWithTurns(430);

  await gate.isOpen();

  expect(turns()).toBe(4);
});

it("does not look without end in a process that is starved", async () => {
  const { gate, turns } = gateWithTurns(...Array<number>(10).fill(100));

  await gate.isOpen();

  expect(turns()).toBe(4);
});

it("looks again when the process may have stood still since", async () => {
  const { gate, time, turns } = gateWithTurns();
  await gate.isOpen();

  time.nowMs += 50;
  await gate.isOpen();
  expect(turns()).toBe(2);
  time.nowMs += 1;
  await gate.isOpen();
  expect(turns()).toBe(4);
});

it("is shut without trust, and when the end of trust is what has arrived", async () => {
  const { gate, lose, time } = gateWithTurns();
  await gate.isOpen();
  lose();
  expect(await gate.isOpen()).toBe(false);

  let isTrusted = true;
  const endArrives = async () => {
    isTrusted = false;
  };
  expect(await createGate(time.clock(), endArrives, () => isTrusted).isOpen()).toBe(false);
});
