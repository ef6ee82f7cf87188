-- The session's record.

-- Reads and sets a field of a session's record. The record is edited as text, so its other fields stay as they are.
local function get_field(record, name)
  return string.match(record, '"' .. name .. '"%s*:%s*"?([^",}%s]*)')
end
local function set_field(record, name, value)
  return (string.gsub(record, '("' .. name .. '"%s*:%s*"?)[^",}%s]*', '%1' .. value, 1))
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
