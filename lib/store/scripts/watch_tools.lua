-- Enters an instance among those who are notified when the session's list of tools changes.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
--       3 the instance's channel, empty for none
-- reply {'watching', the number of lists so far, ms to live} | {'session_not_found'} | {'session_ended'}
--       | {'host_token_wrong'} | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
local session, misses, known, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local created, misses_limit, channel = ARGV[1], ARGV[2], ARGV[3]

local refusal = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
listen(responses, 'guest', channel)
expire_with(session, responses)
return {'watching', redis.call('HGET', responses, '~tools') or '0', redis.call('PTTL', session)}
