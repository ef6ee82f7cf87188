-- Withdraws a guest's request that is not answered yet.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute  3 id
-- reply {'withdrawn'} | {'already_answered'} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
local session, misses, known, requests, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local created, misses_limit, id = ARGV[1], ARGV[2], ARGV[3]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end

local held = redis.call('HGET', responses, id)
if not held then return {'withdrawn'} end
if parse_answered(held) then return {'already_answered'} end
if not withdraw(requests, responses, record, id) then return {'unreadable'} end
return {'withdrawn'}
