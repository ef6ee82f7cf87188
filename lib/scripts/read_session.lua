-- Reads a session, an ended one included.
-- KEYS  1 the session  2 counter: unknown codes of this address
-- ARGV  1 unknown codes an address may try in a minute; 0 for the host, whose token has proved the code
-- reply {'found', record, ms to live} | {'session_not_found'} | {'rate_limited', seconds}
local session, misses = KEYS[1], KEYS[2]
local misses_limit = ARGV[1]

local refusal, record = find_session(session, misses, misses_limit)
if refusal then return refusal end
return {'found', record, redis.call('PTTL', session)}
