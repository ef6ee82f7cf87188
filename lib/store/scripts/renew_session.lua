-- Lets a session and its tools live on from now, and notifies its host. The tools count as sent again: what a network keeps
-- in the store is what it has sent in the last ten minutes.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network sends
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute
--       3 seconds to live from now  4 seconds to live from its creation, at most  5 bytes sent in ten minutes
--       6 seconds that messages live
-- reply {'found', record, ms to live, ms that a host is known to listen} | {'session_not_found'} | {'session_ended'}
--       | {'host_token_wrong'} | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
-- A renewal never shortens a life.
local session, misses, known, requests, responses, tools = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local sent = KEYS[7]
local created, misses_limit, ttl_seconds, longest_seconds = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local sent_limit, seconds = ARGV[5], ARGV[6]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
expire_messages(requests, responses, record, seconds)

local bytes = redis.call('STRLEN', tools) + OVERHEAD
refusal = refuse_over(sent, bytes, sent_limit)
if refusal then return refusal end
local at = now()
local expires = math.min(at + ttl_seconds * 1000, epoch(get_field(record, 'createdAt')) + longest_seconds * 1000)
local ttl = math.max(expires - at, redis.call('PTTL', session))
record = set_field(record, 'expiresAt', iso(at + ttl))
redis.call('SET', session, record, 'PX', ttl)
increase(sent, bytes, BYTES_SECONDS)
expire_with(session, requests)
expire_with(session, responses)
expire_with(session, tools)
ring(responses, 'host', record, string.format('renewed %s %.0f', iso(at + ttl), ttl))
return {'found', record, ttl, host_ms(responses)}
