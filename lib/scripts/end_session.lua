-- Ends a session: its record stays for the rest of its time, its messages go, and its bell rings.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 the bell's channel
-- reply {'ended'} | {'session_not_found'} | {'unreadable'}
local session, requests, responses = KEYS[1], KEYS[2], KEYS[3]
local bell = ARGV[1]

local refusal, record = check_active(session, nil, '0')
if refusal and refusal[1] ~= 'session_ended' then return refusal end

if record then
  redis.call('SET', session, set_field(record, 'active', 'false'), 'KEEPTTL')
  redis.call('PUBLISH', bell, 'ended')
end
redis.call('DEL', requests, responses)
return {'ended'}
