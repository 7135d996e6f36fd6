export const mainHelp = `Usage: grammy-safe-polling <command>

Commands:
  doctor      says what is wrong with a bot, and what to type

Options:
  --help      shows this, or the help of a command
  --version   shows the version
`;

export const doctorHelp = `Usage: BOT_TOKEN=… npx grammy-safe-polling doctor [options]

Says in plain words what is wrong with a bot, and what to type. It only looks, unless told otherwise.
The token comes in the variable BOT_TOKEN: on the command line everybody on the machine could read it (ps).

Which lock (one of):
  --file DIR           a file lock in this directory
  --postgres VAR|URL   a Postgres lock; VAR: the name of the variable with the connection string, such as
                       DATABASE_URL, which keeps its password out of ps too
  --redis VAR|URL      a Redis lock, in the same way
  --no-lock            the bot has none
  Without any: DATABASE_URL if it is a Postgres address, REDIS_URL if it is a Redis address (with both, say
  which), else the default directory of the file lock.

  --key KEY            the bot's option \`key\`; without: the number at the head of the token
  --mode lease         Postgres: the lock is a row in a table; --table NAME where it has a name of its own
  --prefix PREFIX      Redis: the lock's option \`prefix\`

What to do:
  --api-root URL       a Bot API server of your own
  --watch SECONDS      how long updates that wait are watched, 1 to 100; without: 10
  --probe              looks for pollers outside the lock, which disturbs: whoever polls at this moment gets a
                       409. A bot of this library goes on after some 5 s, a plain bot.start() ends. No update
                       is lost or confirmed.
  --fix                removes a webhook (updates that wait are kept) and frees a lock whose holder is dead; asks
                       before each on a terminal. It frees no lock whose holder lives.
  --yes, -y            answers yes to what --fix asks; needed without a terminal
  --json               one JSON object on stdout
  --help, -h

Exit code: 0 healthy, 1 a problem was found, 2 could not tell (a wrong command line, too).
`;
