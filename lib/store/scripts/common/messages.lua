-- A session's requests and answers.

-- What the hash of responses holds for a request: 'pending <cursor> <bytes> <digest> <network> <call>', and once there is an
-- answer, 'answered <ms since 1970> <digest> <kind> <text>'. Digests are of the request's payload, the network is that of
-- its guest. A call, which may be left out, is a name by which the guest can withdraw the request: the field '~call:<call>'
-- holds the request's id.
local function parse_pending(held)
  local cursor, bytes, digest, network, call = string.match(held, '^pending (%S+) (%d+) (%S+) (%S+) ?(%S*)$')
  return cursor, tonumber(bytes), digest, network, call
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
local function close_request(requests, responses, cursor, network, call)
  redis.call('XDEL', requests, cursor)
  if call ~= '' then
    local call_field = '~call:' .. call
    redis.call('HDEL', responses, call_field)
  end
  local field = '~pending:' .. network
  if redis.call('HINCRBY', responses, field, -1) <= 0 then redis.call('HDEL', responses, field) end
end

-- Withdraws a request if it waits for an answer: afterwards its id is as if it had never been. Notifies everybody who
-- listens. Returns whether it did.
local function withdraw(requests, responses, record, id)
  local cursor, bytes, _, network, call = parse_pending(redis.call('HGET', responses, id) or '')
  if not cursor then return false end
  redis.call('HDEL', responses, id)
  close_request(requests, responses, cursor, network, call)
  redis.call('HINCRBY', responses, '~bytes', -bytes - OVERHEAD)
  ring(responses, '', record, 'withdrawn ' .. id)
  return true
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
    local is_pending = parse_pending(redis.call('HGET', responses, id) or '') == cursor
    if is_pending then
      withdraw(requests, responses, record, id)
    else
      redis.call('XDEL', requests, cursor)
    end
  end
  drop_answers(responses, before, 0)
end
