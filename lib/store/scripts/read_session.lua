-- Reads a session, an ended one included, and how long a host is known to listen.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
-- reply {'found', record, ms to live, ms that a host is known to listen} | {'session_not_found'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing}
local session, misses, known, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local created, misses_limit = ARGV[1], ARGV[2]

local refusal, record = find_session(session, misses, known, created, misses_limit)
if refusal then return refusal end
return {'found', record, redis.call('PTTL', session), host_ms(responses)}
