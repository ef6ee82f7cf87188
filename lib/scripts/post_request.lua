-- Takes a guest's request, once for each id, and rings the session's bell.
-- KEYS  1 the session  2 its requests  3 its responses  4 counter: requests of this address to this session
--       5 counter: unknown codes of this address
-- ARGV  1 id  2 payload  3 the payload's digest  4 the bell's channel  5 requests a minute  6 unknown codes a minute
--       7 requests pending, at most  8 bytes in the session, at most
-- reply {'pending', ms to live} | {'answered', when, kind, text} | {'id_conflict'} | {'rate_limited', seconds}
--       | {'too_many_pending', limit} | {'session_full', limit} | {'session_not_found'} | {'session_ended'}
--       | {'unreadable'}
-- A request that is known is not counted, and cannot be refused for a limit.
local session, requests, responses, posted, misses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, payload, digest, bell = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local posted_limit, misses_limit, pending_limit, bytes_limit = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])

local refusal = check_active(session, misses, misses_limit)
if refusal then return refusal end

local held = redis.call('HGET', responses, id)
if held then
  local at, held_digest, kind, text = parse_answered(held)
  if not at then held_digest = select(3, parse_pending(held)) end
  if not held_digest then return {'unreadable'} end
  if held_digest ~= digest then return {'id_conflict'} end
  if at then return {'answered', iso(tonumber(at)), kind, text} end
  return {'pending', redis.call('PTTL', session)}
end

local seconds = retry_after(posted, posted_limit)
if seconds then return {'rate_limited', seconds} end
if redis.call('XLEN', requests) >= pending_limit then return {'too_many_pending', pending_limit} end
local bytes = string.len(payload)
local held_bytes = tonumber(redis.call('HGET', responses, '~bytes') or 0)
if held_bytes + bytes > bytes_limit then return {'session_full', bytes_limit} end

local cursor = redis.call('XADD', requests, '*', 'id', id, 'payload', payload)
local marker = 'pending ' .. cursor .. ' ' .. bytes .. ' ' .. digest
redis.call('HSETNX', responses, id, marker)
redis.call('HINCRBY', responses, '~bytes', bytes)
expire_with(session, requests)
expire_with(session, responses)
increment(posted)
redis.call('PUBLISH', bell, 'request')
return {'pending', redis.call('PTTL', session)}
