import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** What `npm publish` sends: one version, with its tarball in base64. */
interface Publication {
  readonly "dist-tags": Record<string, string>;
  readonly versions: Record<string, { dist: { tarball: string } }>;
  readonly _attachments: Record<string, { readonly data: string }>;
}

export interface NpmRegistry extends AsyncDisposable {
  readonly url: string;
  /** Contents of a project's .npmrc that publishes here and installs from here. */
  readonly npmrc: string;
}

/**
 * A stand-in for npm's registry, as far as one package is published to it and installed from it; every other package
 * comes from the registry that npm is set up with. It checks no rights and keeps nothing.
 */
export async function startNpmRegistry(name: string): Promise<NpmRegistry> {
  const upstream = execFileSync("npm", ["config", "get", "registry"], { encoding: "utf8" }).trim();
  let published: Publication | undefined;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(request.url ?? "/");
    if (request.method === "PUT" && path === `/${name}`) {
      published = JSON.parse(await text(request)) as Publication;
      for (const version of Object.values(published.versions)) {
        version.dist.tarball = `${url}/${name}/-/${Object.keys(published._attachments)[0]}`;
      }
      response.writeHead(201, { "content-type": "application/json" }).end("{}");
    } else if (published && path === `/${name}`) {
      const { _attachments, ...document } = published;
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(document));
    } else if (published && path.startsWith(`/${name}/-/`)) {
      const [attachment] = Object.values(published._attachments);
      response.writeHead(200).end(Buffer.from(attachment?.data ?? "", "base64"));
    } else if (path === `/${name}`) {
      response.writeHead(404, { "content-type": "application/json" }).end('{"error":"not found"}');
    } else {
      response.writeHead(307, { location: new URL(request.url ?? "/", upstream).href }).end();
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((error: Error) => response.writeHead(500).end(error.message));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = `http://${host}`;
  return {
    url,
    npmrc: `registry=${url}/\n//${host}/:_authToken=nobody\n`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
