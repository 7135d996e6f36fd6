import { type ChildProcess, execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { serverUser, temporaryDirectory } from "./postgres-server.js";
import { endServer, freePort, installPackages, spawnServer } from "./server-process.js";

const run = promisify(execFile);

/** A real MariaDB server with a port and a directory of its own. */
export interface MariadbServer {
  readonly port: number;
  /** Connection string; through a proxy, where a port is given. */
  url(port?: number): string;
  /** Runs SQL; what it prints, without names of columns. */
  query(sql: string): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a server and waits until it takes connections. Installs Debian's package where it is missing. */
export async function startMariadb(): Promise<MariadbServer> {
  installPackages(
    "mariadb-server",
    "PATH=$PATH:/usr/sbin command -v mariadbd && command -v mariadb-install-db",
  );
  const port = await freePort();
  const directory = temporaryDirectory("gsp-mariadb-");
  const data = `--datadir=${join(directory, "data")}`;
  const small = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M"];
  const withoutTls = ["--no-defaults", "--ssl=0"];
  const system = ["--skip-test-db", "--auth-root-authentication-method=normal"];
  const asUser = serverUser();
  await run("mariadb-install-db", ["--no-defaults", data, ...system, ...small], asUser);
  const address = [`--port=${port}`, "--bind-address=127.0.0.1", `--socket=${join(directory, "socket")}`];
  const child: ChildProcess = await spawnServer({
    file: "/usr/sbin/mariadbd",
    args: ["--no-defaults", data, ...small, ...address, `--pid-file=${join(directory, "pid")}`],
    options: asUser,
    ready: /ready for connections/,
  });
  const query = async (sql: string) => {
    const { stdout } = await run("mariadb", [
      ...withoutTls,
      ...["--host=127.0.0.1", `--port=${port}`, "--user=root", "--batch", "--skip-column-names"],
      `--execute=${sql}`,
    ]);
    return stdout.trimEnd();
  };
  await query("CREATE DATABASE bots; CREATE USER bot IDENTIFIED BY 'bot-secret'; GRANT ALL ON bots.* TO bot");
  return {
    port,
    url: (through = port) => `mysql://bot:bot-secret@127.0.0.1:${through}/bots`,
    query,
    async [Symbol.asyncDispose]() {
      await endServer(child, () => child.kill("SIGKILL"));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
