import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** `up`: from the client to the server. `down`: from the server to the client. */
type Direction = "up" | "down";

/** A TCP proxy between a client and the server of a test, with the faults of a network. */
export interface TcpProxy {
  readonly port: number;
  /** How many clients are connected. */
  readonly connections: number;
  /** How many pieces clients have sent so far: of one that sends seldom each is a command. */
  readonly pieces: number;
  /** From now on nothing passes in this direction (both), not even the end of a connection. Nobody is told. */
  silence(direction?: Direction): void;
  /** Resolves when something is held back in this direction. */
  holds(direction: Direction): Promise<void>;
  /** Everything passes again; what was held back arrives late and in order, as in TCP. */
  pass(): void;
  /** Every piece arrives so much later in this direction (both). */
  delay(delayMs: number, direction?: Direction): void;
  /** Resets every connection; new ones are accepted. */
  cut(): void;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** One direction of one connection. */
interface Pipe {
  readonly from: Socket;
  readonly direction: Direction;
  readonly held: (() => void)[];
  /** Does the next thing: at once, later, or when the direction passes again. */
  next(action: () => void): void;
}

export async function startTcpProxy(target: { readonly port: number }): Promise<TcpProxy> {
  const pipes = new Set<Pipe>();
  const silent = new Set<Direction>();
  const delays: Record<Direction, number> = { up: 0, down: 0 };
  const directions = (one?: Direction): readonly Direction[] => (one ? [one] : ["up", "down"]);
  let onHeld = () => {};
  let pieces = 0;

  const pipe = (from: Socket, to: Socket, direction: Direction) => {
    const held: (() => void)[] = [];
    const added: Pipe = {
      from,
      direction,
      held,
      next(action) {
        if (silent.has(direction) || held.length > 0) {
          held.push(action);
          onHeld();
        } else if (delays[direction] > 0) setTimeout(action, delays[direction]);
        else action();
      },
    };
    pipes.add(added);
    from.setNoDelay(true);
    from.on("data", (chunk) => {
      if (direction === "up") pieces += 1;
      added.next(() => to.writable && to.write(chunk));
    });
    from.on("error", () => {});
    from.on("close", () => {
      added.next(() => {
        pipes.delete(added);
        to.destroy();
      });
    });
  };

  const server = createServer((client) => {
    const upstream = connect(target.port, "127.0.0.1");
    pipe(client, upstream, "up");
    pipe(upstream, client, "down");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  const pass = () => {
    silent.clear();
    delays.up = delays.down = 0;
    for (const { held } of pipes) for (const action of held.splice(0)) action();
  };
  const cut = () => {
    for (const { from, held } of pipes) {
      held.splice(0);
      from.resetAndDestroy();
    }
  };

  const close = async () => {
    silent.clear();
    cut();
    server.close();
    await once(server, "close");
  };

  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return [...pipes].filter(({ from, direction }) => direction === "up" && !from.destroyed).length;
    },
    get pieces() {
      return pieces;
    },
    silence(direction) {
      for (const each of directions(direction)) silent.add(each);
    },
    holds: (direction) =>
      new Promise((resolve) => {
        onHeld = () => {
          if ([...pipes].some((each) => each.direction === direction && each.held.length > 0)) resolve();
        };
        onHeld();
      }),
    pass,
    delay(delayMs, direction) {
      for (const each of directions(direction)) delays[each] = delayMs;
    },
    cut() {
      silent.clear();
      cut();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
