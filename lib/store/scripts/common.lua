-- Functions that several scripts use. The loader (lib/store/script.py) puts those that a script needs before it.
-- A refusal is a reply whose first element is a code of the API's (lib/problems.py), or 'unreadable' for data in the
-- store that no script has written.

-- The store's clock, in milliseconds since 1970: the only clock, so that instances cannot disagree.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- ISO 8601 in UTC with milliseconds, of milliseconds since 1970. Years are counted from 1 March, in cycles of
-- 400 years (146097 days), so that a leap day is the last of its year.
local function iso(ms)
  local seconds = math.floor(ms / 1000)
  local days = math.floor(seconds / 86400) + 719468
  local cycle = math.floor(days / 146097)
  local day = days - cycle * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  day = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * day + 2) / 153)
  day = day - math.floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  year = year + cycle * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day,
    math.floor(seconds / 3600) % 24, math.floor(seconds / 60) % 60, seconds % 60, ms % 1000)
end

-- The inverse of iso().
local function epoch(text)
  local year, month, day, hour, minute, second, ms = string.match(text, '^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.(%d%d%d)Z$')
  year, month = tonumber(year), tonumber(month)
  if month <= 2 then year, month = year - 1, month + 12 end
  local days = 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * (month - 3) + 2) / 5) + tonumber(day) - 719469
  return (((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)) * 1000 + tonumber(ms)
end

-- Reads and sets a field of a session's record. The record is edited as text, so its other fields stay as they are.
local function get_field(record, name)
  return string.match(record, '"' .. name .. '"%s*:%s*"?([^",}%s]*)')
end
local function set_field(record, name, value)
  return (string.gsub(record, '("' .. name .. '"%s*:%s*"?)[^",}%s]*', '%1' .. value, 1))
end

-- Adds to a counter, which expires so many seconds after its first use.
local function increase(counter, amount, seconds)
  redis.call('INCRBY', counter, amount)
  if redis.call('TTL', counter) < 0 then redis.call('EXPIRE', counter, seconds) end
end

-- The refusal if an amount more would pass a counter's limit, else nil. It names the seconds until the counter expires, the
-- counter, and what may still be added to it, so that an instance knows which calls are certain to be refused, too.
local function refuse_over(counter, amount, limit)
  local room = tonumber(limit) - tonumber(redis.call('GET', counter) or 0)
  if amount <= room then return nil end
  return {'rate_limited', math.max(redis.call('TTL', counter), 1), counter, math.max(room, 0)}
end

-- Bytes are counted over ten minutes.
local BYTES_SECONDS = 600

-- The refusal if a caller has read too many bytes, else nil: once it is refused, all reading is, until the counter expires.
-- Counting must not fail in a store that is full, because reading then has to go on.
local function spend_read(counter, bytes, limit)
  local refusal = refuse_over(counter, bytes, limit)
  if refusal then
    refusal[4] = 0
    return refusal
  end
  redis.pcall('INCRBY', counter, bytes)
  if redis.call('TTL', counter) < 0 then redis.pcall('EXPIRE', counter, BYTES_SECONDS) end
end

-- Makes a key expire at the same instant as its session. A Redis before 7 cannot tell the instant, only what is left.
local function expire_with(session, key)
  local at = redis.pcall('PEXPIRETIME', session)
  if type(at) == 'number' then
    redis.call('PEXPIREAT', key, at)
  else
    redis.call('PEXPIRE', key, redis.call('PTTL', session))
  end
end

-- Finds a session. Returns a refusal, or nil and the session's record.
-- `created` is the creation of the session that the caller's host token is for, empty for a guest. `misses` counts the
-- unknown codes that the caller's network has tried; at the limit the network learns nothing about codes that are new to
-- it. `known` holds the codes that the network has found, scored by when their sessions expire; the refusal names them,
-- up to a thousand, because calls with other codes are certain to be refused, too. With more it names no counter.
local function find_session(session, misses, known, created, limit)
  local record = redis.call('GET', session)
  if record and created ~= '' then
    if get_field(record, 'createdAt') ~= created then return {'host_token_wrong'} end
    return nil, record
  end
  local code = string.sub(session, -8)
  local at = now()
  local expires = tonumber(redis.call('ZSCORE', known, code) or 0)
  local refusal = refuse_over(misses, 1, limit)
  if refusal and expires <= at then
    local codes = redis.call('ZRANGEBYSCORE', known, at, '+inf', 'LIMIT', 0, 1001)
    if #codes > 1000 then return {'rate_limited', refusal[2]} end
    table.insert(refusal, codes)
    return refusal
  end
  if not record then
    increase(misses, 1, 60)
    return {'session_not_found'}
  end
  -- Written once a minute at most, and never needed by a store that is full: the session can be read without it.
  local ttl = redis.call('PTTL', session)
  if expires < at + ttl - 60000 then
    redis.pcall('ZADD', known, at + ttl, code)
    redis.pcall('ZREMRANGEBYSCORE', known, '-inf', at)
    redis.pcall('PEXPIRE', known, math.max(redis.call('PTTL', known), ttl, 1))
  end
  return nil, record
end

-- The same for a session that still takes requests and answers.
local function check_active(session, misses, known, created, limit)
  local refusal, record = find_session(session, misses, known, created, limit)
  if refusal then return refusal end
  local active = get_field(record, 'active')
  if active == 'true' then return nil, record end
  return {active == 'false' and 'session_ended' or 'unreadable'}
end

-- What the hash of responses holds for a request: 'pending <cursor> <bytes> <digest> <network>', and once there is an
-- answer, 'answered <ms since 1970> <digest> <kind> <text>'. Digests are of the request's payload, the network is that of
-- its guest.
local function parse_pending(held)
  local cursor, bytes, digest, network = string.match(held, '^pending (%S+) (%d+) (%S+) (%S+)$')
  return cursor, tonumber(bytes), digest, network
end
local function parse_answered(held)
  return string.match(held, '^answered (' .. string.rep('%d', 13) .. ') (%S+) (%a+) (.*)$')
end

-- What Redis needs for a message beside its text, in bytes: ids, markers, and places in lists.
local OVERHEAD = 400

-- How many requests of a network wait for an answer. Where a script was cut short the counter may be too high, but never
-- above the number of all that wait.
local function pending_of(requests, responses, network)
  local field = '~pending:' .. network
  local counted = tonumber(redis.call('HGET', responses, field) or 0)
  return math.min(counted, redis.call('XLEN', requests))
end

-- Takes a request off those that wait for an answer.
local function close_request(requests, responses, cursor, network)
  redis.call('XDEL', requests, cursor)
  local field = '~pending:' .. network
  if redis.call('HINCRBY', responses, field, -1) <= 0 then redis.call('HDEL', responses, field) end
end

-- The requests after a cursor that are not answered yet: a list {{id, payload, created, cursor}, ...}, which holds at most
-- `most` bytes of payloads, and at least one request; 1 if there are more, else 0; and the bytes. An entry's id begins with
-- the time at which the store took it. An entry without its marker is what a script that was cut short has left, or a
-- request whose marker was evicted: nobody can answer it, so it goes.
local function read_page(requests, responses, cursor, most)
  local page, bytes = {}, 0
  local after = '(' .. cursor
  while true do
    local entry = redis.call('XRANGE', requests, after, '+', 'COUNT', 1)[1]
    if not entry then return page, 0, bytes end
    local at = entry[1]
    after = '(' .. at
    local id, payload = entry[2][2], entry[2][4]
    if parse_pending(redis.call('HGET', responses, id) or '') ~= at then
      redis.call('XDEL', requests, at)
    elseif #page > 0 and bytes + string.len(payload) > most then
      return page, 1, bytes
    else
      bytes = bytes + string.len(payload)
      table.insert(page, {id, payload, iso(tonumber(string.match(at, '^%d+'))), at})
    end
  end
end

-- Who listens to a session: lines '<ms since 1970> <role> <channel>' in the field '~listeners', the role being host or
-- guest, the channel that of a function instance in which a call waits. One that was not renewed for a minute is gone.
local function read_listeners(responses)
  local found = {}
  local since = now() - 60000
  local lines = redis.call('HGET', responses, '~listeners') or ''
  for at, role, channel in string.gmatch(lines, '(%d+) (%a+) ([^\n]+)\n') do
    if tonumber(at) > since then table.insert(found, {at = at, role = role, channel = channel}) end
  end
  return found
end

-- Enters an instance among those who listen, the newest first; an empty channel is none. The responses are there, and
-- expire already.
local function listen(responses, role, channel)
  if channel == '' then return end
  local lines = {string.format('%.0f %s %s\n', now(), role, channel)}
  for _, other in ipairs(read_listeners(responses)) do
    if (other.role ~= role or other.channel ~= channel) and #lines < 32 then
      table.insert(lines, other.at .. ' ' .. other.role .. ' ' .. other.channel .. '\n')
    end
  end
  -- A call that could not enter itself because the store is full still waits, and is checked every half minute.
  redis.pcall('HSET', responses, '~listeners', table.concat(lines))
end

-- 1 if a host listens to the session, else 0.
local function has_host(responses)
  for _, listener in ipairs(read_listeners(responses)) do
    if listener.role == 'host' then return 1 end
  end
  return 0
end

-- Publishes a notification to those listeners who have a role, or to all if the role is empty. It begins with the
-- session's code.
local function publish(listeners, role, record, message)
  local text = get_field(record, 'code') .. ' ' .. message
  local reached = {}
  for _, listener in ipairs(listeners) do
    if (role == '' or listener.role == role) and not reached[listener.channel] then
      reached[listener.channel] = true
      redis.call('PUBLISH', listener.channel, text)
    end
  end
end

-- The same to those who listen to a session now.
local function ring(responses, role, record, message)
  publish(read_listeners(responses), role, record, message)
end

-- Whether a text fits into a message: it is small, and one line.
local function fits(text)
  return string.len(text) <= 8192 and not string.find(text, '[\r\n]')
end

-- Drops answers, the oldest first, that were given before a time, until so many bytes at most are held; at most 2,000, so
-- that the step stays short. Returns the bytes that are held then.
local function drop_answers(responses, before, most)
  local held = tonumber(redis.call('HGET', responses, '~bytes') or 0)
  local start = tonumber(redis.call('HGET', responses, '~first') or 1)
  local first = start
  for place = start, start + 1999 do
    local field = '~answer:' .. place
    local id = redis.call('HGET', responses, field)
    local at, _, _, text = parse_answered(id and redis.call('HGET', responses, id) or '')
    if not id or (at and tonumber(at) > before) or held <= most then break end
    held = held - string.len(text or '') - OVERHEAD
    redis.call('HDEL', responses, field, at and id or field)
    first = place + 1
  end
  if first > start then redis.call('HSET', responses, '~bytes', held, '~first', first) end
  return held
end

-- Lets answers that were given more than two minutes ago make room for so many bytes. Returns whether there is room.
local function make_room(responses, bytes, limit)
  local held = tonumber(redis.call('HGET', responses, '~bytes') or 0)
  if held + bytes > limit then held = drop_answers(responses, now() - 120000, limit - bytes) end
  return held + bytes <= limit
end

-- Withdraws the requests, and drops the answers, that are older than messages live, however long their session is renewed.
local function expire_messages(requests, responses, record, seconds)
  local before = now() - tonumber(seconds) * 1000
  for _, entry in ipairs(redis.call('XRANGE', requests, '-', string.format('%.0f', before), 'COUNT', 100)) do
    local cursor, id = entry[1], entry[2][2]
    local pending, bytes, _, network = parse_pending(redis.call('HGET', responses, id) or '')
    if pending == cursor then
      redis.call('HDEL', responses, id)
      close_request(requests, responses, cursor, network)
      redis.call('HINCRBY', responses, '~bytes', -bytes - OVERHEAD)
      ring(responses, '', record, 'withdrawn ' .. id)
    else
      redis.call('XDEL', requests, cursor)
    end
  end
  drop_answers(responses, before, 0)
end
