-- Takes a guest's request, once for each id, and tells the host.
-- KEYS  1 the session  2 counter: unknown codes of this address  3 marker: this address knows the session
--       4 its requests  5 its responses  6 its tools
--       7 counter: requests of this address to this session  8 counter: bytes that this address sends
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
--       3 id  4 payload  5 the payload's digest  6 the channel if the guest waits for the response, else empty
--       7 requests a minute  8 requests pending, at most  9 bytes in the session, at most  10 bytes a minute
-- reply {'pending', ms to live, 1 if a host listens} | {'answered', when, kind, text} | {'id_conflict'} | {'rate_limited', seconds}
--       | {'too_many_pending', limit} | {'session_full', limit} | {'session_not_found'} | {'session_ended'}
--       | {'host_token_wrong'} | {'unreadable'}
-- A request that is known is not counted, and cannot be refused for a limit.
local session, misses, known, requests, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local posted, sent = KEYS[7], KEYS[8]
local created, misses_limit, id, payload, digest, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local posted_limit, pending_limit, bytes_limit, sent_limit = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end

local held = redis.call('HGET', responses, id)
if held then
  local at, held_digest, kind, text = parse_answered(held)
  if not at then held_digest = select(3, parse_pending(held)) end
  if not held_digest then return {'unreadable'} end
  if held_digest ~= digest then return {'id_conflict'} end
  if at then return {'answered', iso(tonumber(at)), kind, text} end
  listen(responses, 'guest', channel)
  return {'pending', redis.call('PTTL', session), has_host(responses)}
end

local bytes = string.len(payload)
local seconds = retry_after(posted, 1, posted_limit) or retry_after(sent, bytes, sent_limit)
if seconds then return {'rate_limited', seconds} end
if redis.call('XLEN', requests) >= pending_limit then return {'too_many_pending', pending_limit} end
if not make_room(responses, bytes, bytes_limit) then return {'session_full', bytes_limit} end

local cursor = redis.call('XADD', requests, '*', 'id', id, 'payload', payload)
local marker = 'pending ' .. cursor .. ' ' .. bytes .. ' ' .. digest
local previous = redis.call('HGET', responses, '~last') or '0-0'
redis.call('HSET', responses, id, marker, '~last', cursor)
redis.call('HINCRBY', responses, '~bytes', bytes)
expire_with(session, requests)
expire_with(session, responses)
increase(posted, 1)
increase(sent, bytes)
listen(responses, 'guest', channel)
local message = 'request ' .. cursor
if fits(payload) then
  local at = iso(tonumber(string.match(cursor, '^%d+')))
  message = table.concat({message, previous, at, id, bytes, payload}, ' ')
end
ring(responses, 'host', record, message)
return {'pending', redis.call('PTTL', session), has_host(responses)}
