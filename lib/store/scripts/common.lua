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

-- Adds to a counter, which expires one minute after its first use.
local function increase(counter, amount)
  redis.call('INCRBY', counter, amount)
  if redis.call('TTL', counter) < 0 then redis.call('EXPIRE', counter, 60) end
end

-- Seconds until a caller may add an amount to a counter without passing the limit; nil if it may now.
local function retry_after(counter, amount, limit)
  if tonumber(redis.call('GET', counter) or 0) + amount <= tonumber(limit) then return nil end
  return math.max(redis.call('TTL', counter), 1)
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
-- unknown codes that the caller's address has tried; at the limit the address is told nothing of codes that are new to
-- it. `known` marks a session that the address has found before.
local function find_session(session, misses, known, created, limit)
  local record = redis.call('GET', session)
  if record and created ~= '' then
    if get_field(record, 'createdAt') ~= created then return {'host_token_wrong'} end
    return nil, record
  end
  local seconds = retry_after(misses, 1, limit)
  if seconds and redis.call('EXISTS', known) == 0 then return {'rate_limited', seconds} end
  if not record then
    increase(misses, 1)
    return {'session_not_found'}
  end
  redis.call('SET', known, 1, 'PX', math.max(redis.call('PTTL', session), 1))
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

-- What the hash of responses holds for a request: 'pending <cursor> <bytes> <digest>', and once there is an answer,
-- 'answered <ms since 1970> <digest> <kind> <text>'. Digests are of the request's payload.
local function parse_pending(held)
  local cursor, bytes, digest = string.match(held, '^pending (%S+) (%d+) (%S+)$')
  return cursor, tonumber(bytes), digest
end
local function parse_answered(held)
  return string.match(held, '^answered (' .. string.rep('%d', 13) .. ') (%S+) (%a+) (.*)$')
end

-- The requests after a cursor that are not answered yet: {{id, payload, created, cursor}, ...}. An entry's id begins with
-- the time at which the store took it. An entry without its marker is what a script that was cut short has left, or a
-- request whose marker was evicted: nobody can answer it, so it goes.
local function read_backlog(requests, responses, cursor)
  local backlog = {}
  local after = '(' .. cursor
  for _, entry in ipairs(redis.call('XRANGE', requests, after, '+')) do
    local at, fields = entry[1], entry[2]
    if parse_pending(redis.call('HGET', responses, fields[2]) or '') == at then
      table.insert(backlog, {fields[2], fields[4], iso(tonumber(string.match(at, '^%d+'))), at})
    else
      redis.call('XDEL', requests, at)
    end
  end
  return backlog
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
  redis.call('HSET', responses, '~listeners', table.concat(lines))
end

-- 1 if a host listens to the session, else 0.
local function has_host(responses)
  for _, listener in ipairs(read_listeners(responses)) do
    if listener.role == 'host' then return 1 end
  end
  return 0
end

-- Sends a message to those of a role who listen, or to all if the role is empty. It begins with the session's code.
local function ring(responses, role, record, message)
  local text = get_field(record, 'code') .. ' ' .. message
  local rung = {}
  for _, listener in ipairs(read_listeners(responses)) do
    if (role == '' or listener.role == role) and not rung[listener.channel] then
      rung[listener.channel] = true
      redis.call('PUBLISH', listener.channel, text)
    end
  end
end

-- Whether a text fits into a message: it is small, and one line.
local function fits(text)
  return string.len(text) <= 8192 and not string.find(text, '[\r\n]')
end

-- Lets answers that were given more than two minutes ago make room, the oldest first, until so many bytes more fit into
-- the session; at most 2,000 of them, so that the step stays short. Returns whether they fit.
local function make_room(responses, bytes, limit)
  local held = tonumber(redis.call('HGET', responses, '~bytes') or 0)
  if held + bytes <= limit then return true end
  local first = tonumber(redis.call('HGET', responses, '~first') or 1)
  local start, before = first, now() - 120000
  for place = start, start + 1999 do
    local field = '~answer:' .. place
    local id = redis.call('HGET', responses, field)
    local at, _, _, text = parse_answered(id and redis.call('HGET', responses, id) or '')
    if not id or (at and tonumber(at) > before) or held + bytes <= limit then break end
    held = held - string.len(text or '')
    redis.call('HDEL', responses, field, at and id or field)
    first = place + 1
  end
  if first > start then redis.call('HSET', responses, '~bytes', held, '~first', first) end
  return held + bytes <= limit
end
