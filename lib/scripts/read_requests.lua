-- Reads the requests that are not answered yet, for a host that asks once or for a stream that stays.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 the cursor to go on after, as XRANGE takes it  2 the stream, empty for none  3 'open' for its first look
--       4 the bell's channel
-- reply {'found', record, ms to live, {{cursor, {'id', id, 'payload', payload}}, ...}} | {'replaced'} | {'missing'}
--       | {'ended'}
-- The stream that opened last is the session's; it rings the bell, so that the one before it notices.

local refusal = closed(KEYS[1])
if refusal then return refusal end

if ARGV[3] == 'open' then
  redis.call('HSET', KEYS[3], '~stream', ARGV[2])
  belong(KEYS[3], KEYS[1])
  local word = 'stream ' .. ARGV[2]
  redis.call('PUBLISH', ARGV[4], word)
elseif ARGV[2] ~= '' and redis.call('HGET', KEYS[3], '~stream') ~= ARGV[2] then
  return {'replaced'}
end
return {'found', redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), redis.call('XRANGE', KEYS[2], ARGV[1], '+')}
