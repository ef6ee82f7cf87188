-- Reads the list of tools that the host offers.
-- KEYS  1 the session  2 counter: unknown codes of this address  3 marker: this address knows the session
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
-- reply {'found', the list as JSON, empty if there is none} | {'session_not_found'} | {'session_ended'}
--       | {'host_token_wrong'} | {'rate_limited', seconds} | {'unreadable'}
local session, misses, known, tools = KEYS[1], KEYS[2], KEYS[3], KEYS[6]
local created, misses_limit = ARGV[1], ARGV[2]

local refusal = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
return {'found', redis.call('GET', tools) or ''}
