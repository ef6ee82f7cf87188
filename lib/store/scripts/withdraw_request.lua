-- Withdraws a guest's request that is not answered yet: afterwards its id is as if it had never been. Notifies everybody
-- who listens.
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
local cursor, bytes, _, network = parse_pending(held)
if not cursor then return {'unreadable'} end
redis.call('HDEL', responses, id)
close_request(requests, responses, cursor, network)
redis.call('HINCRBY', responses, '~bytes', -bytes - OVERHEAD)
ring(responses, '', record, 'withdrawn ' .. id)
return {'withdrawn'}
