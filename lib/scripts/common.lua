-- Functions that several scripts use. The loader (lib/script.py) puts this file before each script.
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

-- Adds one to a counter, which expires one minute after its first use.
local function increment(counter)
  redis.call('INCR', counter)
  if redis.call('TTL', counter) < 0 then redis.call('EXPIRE', counter, 60) end
end

-- Seconds until a caller whose counter has reached the limit may try again; nil if the counter is below the limit.
local function retry_after(counter, limit)
  if tonumber(redis.call('GET', counter) or 0) < tonumber(limit) then return nil end
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

-- Finds a session. Returns a refusal, or nil and the session's record. `misses` counts the unknown codes of the caller's
-- address; at the limit the address is told nothing, not even of sessions that exist. Limit '0': nothing is counted.
local function find_session(session, misses, limit)
  local seconds = limit ~= '0' and retry_after(misses, limit)
  if seconds then return {'rate_limited', seconds} end
  local record = redis.call('GET', session)
  if record then return nil, record end
  if limit ~= '0' then increment(misses) end
  return {'session_not_found'}
end

-- The same for a session that still takes requests and answers.
local function check_active(session, misses, limit)
  local refusal, record = find_session(session, misses, limit)
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

-- The requests after a cursor that are not answered yet: {{id, payload, created, cursor}, ...}. A stream's ids begin with
-- the time at which the store took the entry.
local function read_backlog(requests, cursor)
  local after = '(' .. cursor
  local backlog = redis.call('XRANGE', requests, after, '+')
  for place, entry in ipairs(backlog) do
    local fields = entry[2]
    backlog[place] = {fields[2], fields[4], iso(tonumber(string.match(entry[1], '^%d+'))), entry[1]}
  end
  return backlog
end
