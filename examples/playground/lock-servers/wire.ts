import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** The network between the instances and their lock server. */
export interface Wire extends AsyncDisposable {
  readonly port: number;
  /** From now on nothing passes, not even the end of a connection, and nobody is told. */
  cut(): void;
  /** Everything passes again; what was held back arrives late and in order, as in TCP. */
  heal(): void;
}

export async function layWire(target: { readonly port: number }): Promise<Wire> {
  /** Each end of each connection, and the other end. */
  const peers = new Map<Socket, Socket>();
  let isCut = false;

  const join = (from: Socket, to: Socket) => {
    peers.set(from, to);
    from.setNoDelay(true);
    from.on("data", (chunk) => to.write(chunk));
    from.on("error", () => {});
    from.on("close", () => {
      peers.delete(from);
      if (!isCut) to.destroy();
    });
    // A listener for data has made it flow.
    if (isCut) from.pause();
  };

  const server = createServer((client) => {
    const upstream = connect(target.port, "127.0.0.1");
    join(client, upstream);
    join(upstream, client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      isCut = true;
      for (const socket of peers.keys()) socket.pause();
    },
    heal() {
      isCut = false;
      for (const [socket, peer] of peers) {
        if (peer.destroyed) socket.destroy();
        else socket.resume();
      }
    },
    async [Symbol.asyncDispose]() {
      for (const socket of peers.keys()) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
