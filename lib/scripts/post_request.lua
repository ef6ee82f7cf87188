-- Takes a guest's request, once for each id, and rings the session's bell.
-- KEYS  1 the session  2 its requests  3 its responses  4 counter: requests of this address to this session
--       5 counter: unknown codes of this address
-- ARGV  1 id  2 payload  3 the payload's digest  4 the bell's channel  5 requests a minute  6 unknown codes a minute
--       7 requests pending, at most  8 bytes in the session, at most
-- reply {'pending', ms to live} | {'answered', ms since 1970, kind, text} | {'conflict'} | {'limited', seconds}
--       | {'crowded'} | {'full'} | {'missing'} | {'ended'}
-- A request that is known is not counted, and cannot be refused for a limit.

local refusal = closed_to_guest(KEYS[1], KEYS[5], ARGV[6])
if refusal then return refusal end

local held = redis.call('HGET', KEYS[3], ARGV[1])
if held then
  local at, digest, kind, text = answered(held)
  if not at then digest = select(3, pending(held)) end
  if not digest then return {'broken'} end
  if digest ~= ARGV[3] then return {'conflict'} end
  if at then return {'answered', at, kind, text} end
  return {'pending', redis.call('PTTL', KEYS[1])}
end

local seconds = limited(KEYS[4], ARGV[5])
if seconds then return {'limited', seconds} end
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[7]) then return {'crowded'} end
local bytes = string.len(ARGV[2])
if tonumber(redis.call('HGET', KEYS[3], '~bytes') or 0) + bytes > tonumber(ARGV[8]) then return {'full'} end

local cursor = redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'payload', ARGV[2])
local marker = 'pending ' .. cursor .. ' ' .. bytes .. ' ' .. ARGV[3]
redis.call('HSETNX', KEYS[3], ARGV[1], marker)
redis.call('HINCRBY', KEYS[3], '~bytes', bytes)
belong(KEYS[2], KEYS[1])
belong(KEYS[3], KEYS[1])
count(KEYS[4])
redis.call('PUBLISH', ARGV[4], 'request')
return {'pending', redis.call('PTTL', KEYS[1])}
