import { expect, it, vi } from "vitest";
import type { Instance } from "./instance.js";
import { LeaseJudge, type LeaseJudgeOptions } from "./lease-judge.js";

const key = "1";

/** A running process that the server has granted the key. */
const holder = (name: string) =>
  ({
    name,
    host: { state: "running" },
    clock: { now: () => ({ monotonicMs: 0, wallMs: 0 }), wasDisturbed: () => false },
  }) as unknown as Instance;

function twoHolders({ hasForgotten }: { readonly hasForgotten: boolean }) {
  const accuse = vi.fn();
  const excuse = vi.fn();
  const judge = new LeaseJudge({
    loop: { nowMs: 0 },
    leaseMs: 10_000,
    forgottenOverlapMs: 7_000,
    accuse,
    updates: { excuse },
  } as unknown as LeaseJudgeOptions);
  const [one, other] = [holder("one"), holder("other")];
  judge.granted(one, "one:1", key);
  if (hasForgotten) judge.forgot([key]);
  judge.granted(other, "other:1", key);
  judge.check(undefined);
  return { accuse, excuse, holders: [one, other] };
}

it("accuses a second trusted holder", () => {
  const { accuse, excuse } = twoHolders({ hasForgotten: false });

  expect(accuse).toHaveBeenCalledWith("never two trusted holders", expect.any(String));
  expect(excuse).not.toHaveBeenCalled();
});

// Seeds 36042 and 93814: the former holder gave the key back before the other had handled what both were sent.
it("lets what two holders were sent come twice after the server has forgotten one of them", () => {
  const { accuse, excuse, holders } = twoHolders({ hasForgotten: true });

  expect(accuse).not.toHaveBeenCalled();
  for (const instance of holders) expect(excuse).toHaveBeenCalledWith(instance, key);
});
