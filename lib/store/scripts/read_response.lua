-- Reads what became of a request.
-- KEYS  1 the session  2 counter: unknown codes of this address  3 marker: this address knows the session
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
--       3 id  4 the channel if the caller waits for the response, else empty
-- reply {'pending', ms to live, 1 if a host listens} | {'answered', when, kind, text} | {'request_not_found'}
--       | {'rate_limited', seconds} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'} | {'unreadable'}
local session, misses, known, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local created, misses_limit, id, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local refusal = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end

local held = redis.call('HGET', responses, id)
if not held then return {'request_not_found'} end
local at, _, kind, text = parse_answered(held)
if at then return {'answered', iso(tonumber(at)), kind, text} end
if not parse_pending(held) then return {'unreadable'} end
listen(responses, 'guest', channel)
return {'pending', redis.call('PTTL', session), has_host(responses)}
