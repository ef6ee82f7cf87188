-- Withdraws the request that a guest posted under the name of a call, if it still waits for an answer. Notifies the guests
-- first that it was cancelled: otherwise the call that waits could not tell this from any other withdrawal.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute  3 the call
-- reply {'withdrawn'} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
local session, misses, known, requests, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local created, misses_limit, call = ARGV[1], ARGV[2], ARGV[3]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
local call_field = '~call:' .. call
local id = redis.call('HGET', responses, call_field)
if id then
  ring(responses, 'guest', record, 'cancelled ' .. id)
  withdraw(requests, responses, record, id)
end
return {'withdrawn'}
