-- What several scripts need. The loader (lib/kv.py) puts it before each of them.

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
local function field(record, name)
  return string.match(record, '"' .. name .. '"%s*:%s*"?([^",}%s]*)')
end
local function with(record, name, value)
  return (string.gsub(record, '("' .. name .. '"%s*:%s*"?)[^",}%s]*', '%1' .. value, 1))
end

-- Seconds until a caller whose counter has reached the limit may try again; false while it has not.
local function limited(counter, limit)
  if tonumber(redis.call('GET', counter) or 0) < tonumber(limit) then return false end
  return math.max(redis.call('TTL', counter), 1)
end

-- What the hash of responses holds for a request: 'pending <cursor> <bytes> <digest>', and once there is an answer,
-- 'answered <ms since 1970> <digest> <kind> <text>'. Digests are of the request's payload.
local function pending(held)
  local cursor, bytes, digest = string.match(held, '^pending (%S+) (%d+) (%S+)$')
  return cursor, tonumber(bytes), digest
end
local function answered(held)
  return string.match(held, '^answered (%d+) (%S+) (%a+) (.*)$')
end

-- Lets a key of a session vanish at the same instant. A Redis before 7 cannot tell the instant, only what is left.
local function belong(key, session)
  local at = redis.pcall('PEXPIRETIME', session)
  if type(at) == 'number' then
    redis.call('PEXPIREAT', key, at)
  else
    redis.call('PEXPIRE', key, redis.call('PTTL', session))
  end
end

-- Adds one to a counter, which lives for one minute from its first use.
local function count(counter)
  redis.call('INCR', counter)
  if redis.call('TTL', counter) < 0 then redis.call('EXPIRE', counter, 60) end
end

-- The reply for a session that takes nothing any more, or nil and its record. 'broken' is data that is not ours.
local function closed(session)
  local record = redis.call('GET', session)
  if not record then return {'missing'} end
  local active = field(record, 'active')
  if active == 'false' then return {'ended'} end
  if active ~= 'true' then return {'broken'} end
  return nil, record
end

-- The same for a guest, whose address is told nothing once it has tried too many unknown codes in this minute. The
-- limit is 0 for a caller who has proved to know the code.
local function closed_to_guest(session, counter, limit)
  local seconds = limit ~= '0' and limited(counter, limit)
  if seconds then return {'limited', seconds} end
  local reply = closed(session)
  if reply and reply[1] == 'missing' and limit ~= '0' then count(counter) end
  return reply
end
