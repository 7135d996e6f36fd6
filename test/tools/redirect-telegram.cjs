// Preloaded (`node --require`) into programs that are run exactly as the documentation prints them: what they send to
// api.telegram.org goes to the server that API_ROOT names.
const http = require("node:http");
const https = require("node:https");

const { hostname, port } = new URL(process.env.API_ROOT ?? "");
const { request } = https;

/** grammY's node-fetch passes an object, one of the overloads. @type {any} */
const redirect = (/** @type {https.RequestOptions} */ options, /** @type {any} */ listener) =>
  options.hostname === "api.telegram.org"
    ? http.request({ ...options, protocol: "http:", hostname, port, agent: undefined }, listener)
    : request(options, listener);
https.request = redirect;

// Bun has a fetch of its own in the place of node-fetch: there grammY is told another root.
if (process.versions.bun) {
  const { resolve } = require("node:path");
  const grammy = require.resolve("grammy", { paths: [process.cwd()] });
  const client = require(resolve(grammy, "../core/client.js"));
  const { createRawApi } = client;
  client.createRawApi = (
    /** @type {string} */ token,
    /** @type {object} */ options,
    /** @type {unknown} */ envelope,
  ) => createRawApi(token, { ...options, apiRoot: process.env.API_ROOT }, envelope);
}
