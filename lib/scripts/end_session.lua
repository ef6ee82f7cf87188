-- Ends a session: its record stays for the rest of its time, its messages go, and its bell rings.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 the bell's channel
-- reply {'ended'} | {'missing'}

local refusal, record = closed(KEYS[1])
if refusal and refusal[1] ~= 'ended' then return refusal end

if record then
  redis.call('SET', KEYS[1], with(record, 'active', 'false'), 'KEEPTTL')
  redis.call('PUBLISH', ARGV[1], 'ended')
end
redis.call('DEL', KEYS[2], KEYS[3])
return {'ended'}
