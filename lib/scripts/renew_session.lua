-- Lets a session and all that belongs to it live on from now, and rings its bell.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 seconds to live from now  2 seconds to live from its creation, at most  3 the bell's channel
-- reply {'found', record, ms to live} | {'missing'} | {'ended'}
-- A renewal never shortens a life.

local refusal, record = closed(KEYS[1])
if refusal then return refusal end

local at = now()
local expires = math.min(at + ARGV[1] * 1000, epoch(field(record, 'createdAt')) + ARGV[2] * 1000)
local ttl = math.max(expires - at, redis.call('PTTL', KEYS[1]))
record = with(record, 'expiresAt', iso(at + ttl))
redis.call('SET', KEYS[1], record, 'PX', ttl)
belong(KEYS[2], KEYS[1])
belong(KEYS[3], KEYS[1])
redis.call('PUBLISH', ARGV[3], 'renewed')
return {'found', record, ttl}
