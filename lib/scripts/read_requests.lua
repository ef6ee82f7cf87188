-- Reads the requests that are not answered yet, for a host that asks once or for a stream that stays.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 the cursor to go on after, as XRANGE takes it  2 the stream, empty for none  3 'open' for its first look
--       4 the bell's channel  5 the stream that it takes the session over from, empty for none
-- reply {'found', record, ms to live, {{cursor, {'id', id, 'payload', payload}}, ...}} | {'overtaken', stream}
--       | {'replaced'} | {'missing'} | {'ended'}
-- The stream that opened last is the session's; it rings the bell, so that the one before it notices. The hash knows
-- the last few streams, newest first. One that opens again, because its answer was lost, does not become the newest;
-- nor does one that opens late, and does not know the stream that has the session by now: it has been overtaken.

local refusal, record = closed(KEYS[1])
if refusal then return refusal end

if ARGV[2] ~= '' then
  local streams = redis.call('HGET', KEYS[3], '~stream') or ''
  if ARGV[3] == 'open' and not string.find(streams, ARGV[2], 1, true) then
    local newest = string.match(streams, '^%S+') or ''
    if newest ~= ARGV[5] then return {'overtaken', newest} end
    streams = string.sub(ARGV[2] .. ' ' .. streams, 1, 200)
    redis.call('HSET', KEYS[3], '~stream', streams)
    belong(KEYS[3], KEYS[1])
    local word = 'stream ' .. ARGV[2]
    redis.call('PUBLISH', ARGV[4], word)
  end
  if string.match(streams, '^%S+') ~= ARGV[2] then return {'replaced'} end
end
return {'found', record, redis.call('PTTL', KEYS[1]), redis.call('XRANGE', KEYS[2], ARGV[1], '+')}
