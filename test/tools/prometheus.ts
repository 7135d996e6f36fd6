import { type ChildProcess, execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { endServer, freePort, installPackages, spawnServer } from "./server-process.js";

/** Debian's prometheus, which has promtool too, where it is missing and we may install it. */
export function installPrometheus(): void {
  installPackages("prometheus", "command -v prometheus && command -v promtool");
}

/** Resolves with what promtool prints; rejects with it where it finds something wrong. */
export async function promtool(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)("promtool", args);
  return stdout;
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
}

/** A Prometheus server that looks at its targets, and at rules, every second. */
export class Prometheus implements AsyncDisposable {
  readonly #url: string;
  readonly #server: ChildProcess;
  readonly #directory: string;

  private constructor(url: string, server: ChildProcess, directory: string) {
    this.#url = url;
    this.#server = server;
    this.#directory = directory;
  }

  /** `targets`: host and port by the name that they get as `instance`. `rules`: the text of a rule file. */
  static async start(targets: Readonly<Record<string, string>>, rules: string): Promise<Prometheus> {
    const directory = mkdtempSync(join(tmpdir(), "gsp-prometheus-"));
    const config = {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: ["rules.yml"],
      scrape_configs: [
        {
          job_name: "bot",
          static_configs: Object.entries(targets).map(([instance, target]) => ({
            targets: [target],
            labels: { instance },
          })),
        },
      ],
    };
    writeFileSync(join(directory, "prometheus.yml"), JSON.stringify(config)); // JSON is YAML
    writeFileSync(join(directory, "rules.yml"), rules);
    const address = `127.0.0.1:${await freePort()}`;
    const server = await spawnServer({
      file: "prometheus",
      args: [
        `--config.file=${join(directory, "prometheus.yml")}`,
        `--storage.tsdb.path=${join(directory, "data")}`,
        `--web.listen-address=${address}`,
        "--scrape.discovery-reload-interval=1s",
      ],
      ready: /Server is ready to receive web requests/,
    });
    return new Prometheus(`http://${address}`, server, directory);
  }

  /** The series that an expression gives at any of the last `seconds`; rejects with what is wrong with it. */
  query(expression: string, seconds = 60): Promise<readonly Series[]> {
    const now = Date.now() / 1000;
    const range = { query: expression, start: `${now - seconds}`, end: `${now}`, step: "1" };
    return this.#get<{ readonly result: readonly Series[] }>("query_range", range).then(
      ({ result }) => result,
    );
  }

  /** The labels of what a selector has ever matched. */
  series(selector: string): Promise<readonly Series["metric"][]> {
    return this.#get("series", { "match[]": selector });
  }

  async #get<T>(path: string, parameters: Record<string, string>): Promise<T> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const { status, error, data } = (await response.json()) as {
      readonly status: string;
      readonly error?: string;
      readonly data: T;
    };
    if (status !== "success") throw new Error(`${error}: ${JSON.stringify(parameters)}`);
    return data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endServer(this.#server, (server) => server.kill("SIGTERM"));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
