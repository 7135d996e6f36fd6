import type {
  Claim,
  ClaimRequest,
  ConnectContext,
  LockBackend,
  LockConnection,
} from "../../src/lock/backend.js";
import type { LeaseServer } from "../tools/lease-server.js";

/** Some other way to do what a connection does, around the right one. */
type Break = (right: LockConnection, context: ConnectContext) => Partial<LockConnection>;

function broken(backend: LockBackend, breakIt: Break): LockBackend {
  return {
    ...backend,
    async connect(context) {
      const right = await backend.connect(context);
      return {
        ...(right.memoryAgeMs !== undefined && { memoryAgeMs: right.memoryAgeMs }),
        claim: (requests) => right.claim(requests),
        beat: (held) => right.beat(held),
        release: (keys) => right.release(keys),
        ...(right.ask && { ask: (key, request) => right.ask?.(key, request) ?? Promise.resolve() }),
        inspect: (key) => right.inspect(key),
        close: () => right.close(),
        ...breakIt(right, context),
      };
    },
  };
}

/** Counts a grant up where it should refuse: Postgres' advisory locks are like that. */
export function reentrant(backend: LockBackend): LockBackend {
  return broken(backend, (right) => {
    const held = new Map<string, number>();
    return {
      async claim(requests) {
        const claims = await right.claim(requests);
        return requests.map(({ key }, index): Claim => {
          const claim = claims[index] as Claim;
          if (claim.granted) held.set(key, claim.token);
          const token = held.get(key);
          return token === undefined ? claim : { granted: true, token };
        });
      },
    };
  });
}

/** Right, but the answer to the claim after `lose()` is lost on its way. */
export function withLostAnswers(backend: LockBackend): { backend: LockBackend; lose(): void } {
  let losing = false;
  return {
    lose: () => {
      losing = true;
    },
    backend: broken(backend, (right) => ({
      async claim(requests) {
        const claims = await right.claim(requests);
        if (losing) {
          losing = false;
          throw new Error("no answer");
        }
        return claims;
      },
    })),
  };
}

/** Does not count a key as granted before it has answered: a beat after a lost answer shows nothing. */
export function ghostGrant(backend: LockBackend): LockBackend {
  return broken(backend, (right) => {
    const answered = new Set<string>();
    return {
      async claim(requests) {
        const claims = await right.claim(requests);
        for (const [index, { key }] of requests.entries()) if (claims[index]?.granted) answered.add(key);
        return claims;
      },
      beat: async (held) => (await right.beat(held)).filter((key) => answered.has(key)),
    };
  });
}

/** Carries a claim out although its connection was closed meanwhile, for an owner that nobody is any more. */
export function lateGrant(backend: LockBackend): LockBackend {
  return broken(backend, (right, context) => ({
    async claim(requests) {
      await Promise.resolve();
      return await right.claim(requests).catch(async () => {
        const ghost = await backend.connect({ ...context, owner: `${context.owner} (ghost)` });
        return await ghost.claim(requests);
      });
    },
  }));
}

/** Sends a claim so late that a release that was made after it goes first. */
export function overtakenClaim(backend: LockBackend): LockBackend {
  return broken(backend, (right) => ({
    async claim(requests) {
      await new Promise((resolve) => setImmediate(resolve));
      return await right.claim(requests);
    },
  }));
}

/** Renews without looking at the claims. */
export function blindBeat(backend: LockBackend): LockBackend {
  return broken(backend, (right) => ({
    beat: async (held) => [...new Set([...held, ...(await right.beat(held))])],
  }));
}

/** Looks only at what it is asked for. */
export function narrowBeat(backend: LockBackend): LockBackend {
  return broken(backend, (right) => ({
    beat: async (held) => (await right.beat(held)).filter((key) => held.includes(key)),
  }));
}

/** Gives one token to two holders. */
export function repeatingTokens(backend: LockBackend): LockBackend {
  return broken(backend, (right) => ({
    claim: async (requests) =>
      (await right.claim(requests)).map((claim) =>
        claim.granted ? { granted: true, token: Math.ceil(claim.token / 2) } : claim,
      ),
  }));
}

/** Around the right backend, other methods that know which connection of the process holds which key. */
function knowingHolders(
  backend: LockBackend,
  wrong: (
    right: LockConnection,
    holders: ReadonlyMap<string, LockConnection>,
  ) => Partial<Omit<LockConnection, "claim">>,
): LockBackend {
  const holders = new Map<string, LockConnection>();
  return broken(backend, (right) => ({
    async claim(requests) {
      const claims = await right.claim(requests);
      for (const [index, { key }] of requests.entries()) if (claims[index]?.granted) holders.set(key, right);
      return claims;
    },
    ...wrong(right, holders),
  }));
}

/** Releases by key, whoever asks: a DEL without a look at the owner. */
export function ownerlessRelease(backend: LockBackend): LockBackend {
  return knowingHolders(backend, (_, holders) => ({
    async release(keys) {
      for (const key of keys) await holders.get(key)?.release([key]);
    },
  }));
}

/** Around the right backend, another way to pass its wake-ups on. */
function waking(
  backend: LockBackend,
  onWake: (context: ConnectContext, key: string | undefined) => void,
): LockBackend {
  return {
    ...backend,
    connect: (context) => backend.connect({ ...context, onWake: (key) => onWake(context, key) }),
  };
}

/** Never wakes anybody. */
export function lostWake(backend: LockBackend): LockBackend {
  return waking(backend, () => {});
}

/** Wakes for every key of a batch by itself. */
export function chattyWake(backend: LockBackend): LockBackend {
  return waking(backend, (context) => {
    for (const key of context.wantedKeys()) context.onWake(key);
  });
}

/** Right: passes on what a server announces to everybody, the releases of others included. */
export function wakesForOthers(backend: LockBackend): LockBackend {
  return waking(backend, (context, key) => {
    for (let other = 0; other < 30; other += 1) context.onWake(`another's ${other}`);
    context.onWake(key);
  });
}

/** Passes no request to hand over on. */
export function lostAsk(backend: LockBackend): LockBackend {
  return broken(backend, () => ({ async ask() {} }));
}

/** Takes a request to hand over for a right to the key. */
export function forcedAsk(backend: LockBackend): LockBackend {
  return knowingHolders(backend, (right, holders) => ({
    async ask(key, request) {
      await right.ask?.(key, request);
      await holders.get(key)?.release([key]);
    },
  }));
}

/** Waits for the holder instead of saying no. */
export function waitingClaim(backend: LockBackend): LockBackend {
  return broken(backend, (right) => {
    let closed = false;
    return {
      async claim(requests) {
        for (;;) {
          const claims = await right.claim(requests);
          if (closed || claims.every(({ granted }) => granted)) return claims;
          await new Promise((resolve) => setImmediate(resolve));
        }
      },
      close: () => {
        closed = true;
        return right.close();
      },
    };
  });
}

/** Answers in an order of its own. */
export function shuffledAnswers(backend: LockBackend): LockBackend {
  const byKey = (a: ClaimRequest, b: ClaimRequest) => (a.key < b.key ? -1 : 1);
  return broken(backend, (right) => ({ claim: (requests) => right.claim([...requests].sort(byKey)) }));
}

/** Closes without giving anything up. */
export function leakingClose(backend: LockBackend): LockBackend {
  return broken(backend, () => ({ async close() {} }));
}

/** Takes two keys for one: a lossy key to name. */
export function collidingKeys(backend: LockBackend): LockBackend {
  const fold = (request: ClaimRequest): ClaimRequest => ({
    ...request,
    key: request.key.slice(0, 199).toLowerCase(),
  });
  return broken(backend, (right) => ({ claim: (requests) => right.claim(requests.map(fold)) }));
}

/** Grants a free key without a look at whether its holder was forgotten. */
export function carefree(backend: LockBackend): LockBackend {
  return broken(backend, (right) => ({
    claim: (requests) => right.claim(requests.map((request) => ({ ...request, mayTakeForgotten: true }))),
  }));
}

/** Renews the lease with a beat only. `leases` is the server's own. */
export function unrenewingClaim(backend: LockBackend, leases: Map<string, number>): LockBackend {
  return broken(backend, (right, { owner }) => ({
    async claim(requests) {
      const end = leases.get(owner);
      const claims = await right.claim(requests);
      if (end !== undefined) leases.set(owner, end);
      return claims;
    },
  }));
}

/** Lets nothing run out: a backend that tells `leaseMs` and does not enforce it. */
export function eternalLease(backend: LockBackend, leases: Map<string, number>): LockBackend {
  return broken(backend, (right, { owner }) => ({
    async claim(requests) {
      const claims = await right.claim(requests);
      leases.set(owner, Number.POSITIVE_INFINITY);
      return claims;
    },
  }));
}

/** Looks first and takes then: two steps, between which others look too. `records` and `leases` are the server's own. */
export function twoStepTakeover(backend: LockBackend, server: LeaseServer): LockBackend {
  return broken(backend, (right, { owner }) => ({
    async claim(requests) {
      const [request] = requests;
      const record = request && server.records.get(request.key);
      const isOver = record?.owner !== undefined && server.remainingMs(record.owner) <= 0;
      if (!request || !isOver) return await right.claim(requests);
      await new Promise((resolve) => setImmediate(resolve));
      await right.beat([]);
      const token = server.nextToken();
      server.records.set(request.key, { owner, token });
      return [{ granted: true, token }];
    },
  }));
}

/** Ends leases by the clock of whoever asks. */
export function clientClockExpiry(backend: LockBackend, server: LeaseServer): LockBackend {
  const endsAt = new Map<string, number>();
  return broken(backend, (right) => ({
    async claim(requests) {
      for (const { key } of requests) {
        const owner = server.records.get(key)?.owner;
        if (owner !== undefined && Date.now() > (endsAt.get(key) ?? 0)) server.leases.set(owner, 0);
      }
      const claims = await right.claim(requests);
      for (const [index, { key }] of requests.entries()) {
        if (claims[index]?.granted) endsAt.set(key, Date.now() + server.leaseMs);
      }
      return claims;
    },
    async beat(held) {
      for (const key of held) endsAt.set(key, Date.now() + server.leaseMs);
      return await right.beat(held);
    },
  }));
}
