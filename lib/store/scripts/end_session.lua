-- Ends a session: its record stays for the rest of its time, its messages go, and everybody who listens is notified.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute
-- reply {'ended'} | {'session_not_found'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
-- The messages go first: in a store that is full nothing else may be written before.
local session, misses, known, requests, responses, tools = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local created, misses_limit = ARGV[1], ARGV[2]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal and refusal[1] ~= 'session_ended' then return refusal end

local listeners = read_listeners(responses)
redis.call('DEL', requests, responses, tools)
if record then
  redis.call('SET', session, set_field(record, 'active', 'false'), 'KEEPTTL')
  publish(listeners, '', record, 'ended')
end
return {'ended'}
