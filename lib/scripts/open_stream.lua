-- Makes a stream the session's, in place of the one before, and reads the requests that are not answered yet.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 the cursor to go on after  2 the stream  3 the stream that it replaces, empty for none
--       4 the bell's channel
-- reply {'found', record, ms to live, {{id, payload, created, cursor}, ...}} | {'conflict', newest stream}
--       | {'replaced'} | {'session_not_found'} | {'session_ended'} | {'unreadable'}
-- The field '~stream' holds the last few streams, newest first. Run again, because its answer was lost, it does not make
-- the stream newest again. 'conflict': the stream to replace is not the newest any more.
local session, requests, responses = KEYS[1], KEYS[2], KEYS[3]
local cursor, stream, predecessor, bell = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local refusal, record = check_active(session, nil, '0')
if refusal then return refusal end

local streams = redis.call('HGET', responses, '~stream') or ''
local newest = string.match(streams, '^%S+') or ''
if not string.find(streams, stream, 1, true) then
  if newest ~= predecessor then return {'conflict', newest} end
  streams = string.sub(stream .. ' ' .. streams, 1, 200)
  redis.call('HSET', responses, '~stream', streams)
  expire_with(session, responses)
  local message = 'stream ' .. stream
  redis.call('PUBLISH', bell, message)
elseif newest ~= stream then
  return {'replaced'}
end
return {'found', record, redis.call('PTTL', session), read_backlog(requests, cursor)}
