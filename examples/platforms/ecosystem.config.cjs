// pm2: `BOT_TOKEN=… pm2 start ecosystem.config.cjs`. The default lock, a file, is enough: all processes are on one machine.
module.exports = {
  apps: [
    {
      name: "bot",
      script: "dist/bot.js",
      // Two: the second stands by, and `pm2 reload bot` hands over without a pause.
      instances: 2,
      exec_mode: "cluster",
      // The bot says `process.send?.("ready")` after safeStartPolling(), in standby too, and closes this channel
      // (`process.disconnect()`) when `polling.done` has settled, rejected too.
      wait_ready: true,
      listen_timeout: 10_000,
      // SIGINT, then this long until SIGKILL, in milliseconds; 1600 where nothing is set, less than drainTimeoutMs.
      kill_timeout: 15_000,
    },
  ],
};
