-- Reads what became of a request.
-- KEYS  1 the session  2 its responses  3 counter: unknown codes of this address
-- ARGV  1 id  2 unknown codes an address may try in a minute; 0 for a caller who has proved to know the code
-- reply {'pending', ms to live} | {'answered', when, kind, text} | {'request_not_found'}
--       | {'rate_limited', seconds} | {'session_not_found'} | {'session_ended'} | {'unreadable'}
local session, responses, misses = KEYS[1], KEYS[2], KEYS[3]
local id, misses_limit = ARGV[1], ARGV[2]

local refusal = check_active(session, misses, misses_limit)
if refusal then return refusal end

local held = redis.call('HGET', responses, id)
if not held then return {'request_not_found'} end
local at, _, kind, text = parse_answered(held)
if at then return {'answered', iso(tonumber(at)), kind, text} end
if not parse_pending(held) then return {'unreadable'} end
return {'pending', redis.call('PTTL', session)}
