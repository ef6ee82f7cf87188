-- Lets a session and its messages live on from now, and rings its bell.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 seconds to live from now  2 seconds to live from its creation, at most  3 the bell's channel
-- reply {'found', record, ms to live} | {'session_not_found'} | {'session_ended'} | {'unreadable'}
-- A renewal never shortens a life.
local session, requests, responses = KEYS[1], KEYS[2], KEYS[3]
local ttl_seconds, longest_seconds, bell = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local refusal, record = check_active(session, nil, '0')
if refusal then return refusal end

local at = now()
local expires = math.min(at + ttl_seconds * 1000, epoch(get_field(record, 'createdAt')) + longest_seconds * 1000)
local ttl = math.max(expires - at, redis.call('PTTL', session))
record = set_field(record, 'expiresAt', iso(at + ttl))
redis.call('SET', session, record, 'PX', ttl)
expire_with(session, requests)
expire_with(session, responses)
redis.call('PUBLISH', bell, 'renewed')
return {'found', record, ttl}
