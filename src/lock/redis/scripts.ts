/**
 * The lock in Redis: one hash, so that an eviction or a flush takes all of it or nothing, and without a TTL, so
 * that the `volatile-*` policies leave it alone. Its fields:
 *
 * - `claim:<key>`: who holds the key, as JSON that begins with `{"token":<number>,"owner":"<name>"`. A release
 *   leaves `{"token":<number>,"released":<time>`, so that the next token is larger. Every version keeps these heads.
 * - `lease:<owner>`: `<end> <length>`, in milliseconds, of the lease that carries all claims of one connection.
 * - `born`: when this hash was made. Release 1.0.0 waits while it is young; nothing else reads it.
 *
 * All times are the server's. Scripts are sent by EVAL, not EVALSHA: the second try after a NOSCRIPT would be
 * a command that nobody waits for any more.
 *
 * KEYS[1] is the hash, ARGV[1] the owner. A write that needs no memory comes first in each script: after it,
 * Redis lets the others pass at `maxmemory` too, so as not to stop a script half-way.
 */
const base = `
local lock, me = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HDEL', lock, '')
local function int(n) return string.format('%.0f', n) end
local function renew(owner, length)
  redis.call('HSET', lock, 'lease:' .. owner, int(now + length) .. ' ' .. int(length))
end
local function number(text)
  local value = tonumber(text or '')
  return value and value <= 9007199254740991 and value or nil
end
local function read(key)
  local record = redis.call('HGET', lock, 'claim:' .. key) or ''
  local token, owner = string.match(record, '^{"token":(%d+),"owner":"([^"]*)"')
  local given, released = string.match(record, '^{"token":(%d+),"released":(%d+)')
  token, released = number(token or given), number(released)
  if not token or not (owner or released) then return nil, nil, '' end
  return token, owner, record, released
end
`;

/**
 * When the lease of a claim's owner ends and when it was last renewed. A lease that is missing or ends later than
 * its length allows (the clock was set back) counts as renewed just now: its holder may still trust it.
 */
const leaseOf = `
local leases = {}
local function lease_of(owner, record)
  if not leases[owner] then
    local value = redis.call('HGET', lock, 'lease:' .. owner) or ''
    local ends, length = string.match(value, '^(%d+) (%d+)$')
    ends, length = tonumber(ends), tonumber(length or string.match(record, '"leaseMs":(%d+)')) or 0
    if not ends or ends - now > length then
      ends = now + length
      renew(owner, length)
    end
    leases[owner] = {ends - now, ends - length}
  end
  return unpack(leases[owner])
end
`;

/**
 * ARGV[2]: the channel; left out by whoever only looks, who then writes nothing. Answers the server's time, in
 * milliseconds. Writes `born` where it is there, too: whoever may not write is refused now, and not at a claim. Removes
 * leases that ended: a minute ago where no claim names their owner (an instance that stopped), else a day ago.
 */
export const startScript = `${base}
if not ARGV[2] then return now end
redis.call('HSET', lock, 'born', redis.call('HGET', lock, 'born') or int(now))
local all, owners = redis.call('HGETALL', lock), {}
for i = 1, #all, 2 do
  local owner = string.match(all[i], '^claim:') and string.match(all[i + 1], '"owner":"([^"]*)"')
  if owner then owners['lease:' .. owner] = true end
end
for i = 1, #all, 2 do
  local ends = string.match(all[i], '^lease:') and tonumber(string.match(all[i + 1], '^%d+'))
  if ends and ends + (owners[all[i]] and 86400000 or 60000) < now then redis.call('HDEL', lock, all[i]) end
end
redis.call('PUBLISH', ARGV[2], '')
return now`;

/**
 * ARGV: owner, lease length, record, server start as seen at connect, then key, former owner, "may take forgotten"
 * ("1") per claim. Answers {token} for a grant, {0, time left, record} where another holds the key, {0} where it was
 * forgotten. What was written before the server's start is no proof that a key is free: its last writes may be missing.
 */
export const claimScript = `${base}${leaseOf}
local started = tonumber(ARGV[4])
renew(me, tonumber(ARGV[2]))
local answers = {}
for i = 5, #ARGV, 3 do
  local key, former = ARGV[i], ARGV[i + 1]
  local token, owner, record, released = read(key)
  local left, proven = 0, false
  if owner and owner == former then
    proven = true
  elseif owner then
    left, proven = lease_of(owner, record)
    proven = proven >= started
  elseif token then
    proven = released >= started
  end
  if left > 0 then
    answers[#answers + 1] = {0, left, record}
  elseif proven or ARGV[i + 2] == '1' then
    token = math.max((token or 0) + 1, now)
    redis.call('HSET', lock, 'claim:' .. key,
      '{"token":' .. int(token) .. ',' .. string.sub(ARGV[3], 2, -2) .. ',"since":' .. int(now) .. '}')
    answers[#answers + 1] = {token}
  else
    answers[#answers + 1] = {0}
  end
end
return answers`;

/** ARGV: owner, lease length, then key and token ("": not known) per claim. Answers 1 for each that is the owner's. */
export const beatScript = `${base}
renew(me, tonumber(ARGV[2]))
local owned = ',"owner":"' .. me .. '"'
local answers = {}
for i = 3, #ARGV, 2 do
  local record = redis.call('HGET', lock, 'claim:' .. ARGV[i]) or ''
  local head = ARGV[i + 1] == '' and owned or '{"token":' .. ARGV[i + 1] .. owned
  answers[#answers + 1] = string.find(record, head, 1, true) and 1 or 0
end
return answers`;

/** ARGV: owner, channel, message for those who wait, keys. */
export const releaseScript = `${base}
local freed = false
for i = 4, #ARGV do
  local token, owner = read(ARGV[i])
  if owner == me then
    redis.call('HSET', lock, 'claim:' .. ARGV[i],
      '{"token":' .. int(token) .. ',"released":' .. int(now) .. ',"v":1}')
    freed = true
  end
end
if freed then redis.call('PUBLISH', ARGV[2], ARGV[3]) end`;

/** ARGV: owner, key. Answers {record, milliseconds since the last renewal} of whoever holds the key. */
export const inspectScript = `${base}${leaseOf}
local token, owner, record = read(ARGV[2])
if not owner then return end
local left, renewed = lease_of(owner, record)
if left > 0 then return {record, now - renewed} end`;
