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
