-- Reads the requests that are not answered yet.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 the cursor to go on after  2 the stream that asks, empty for a plain read
-- reply {'found', record, ms to live, {{id, payload, created, cursor}, ...}} | {'replaced'}
--       | {'session_not_found'} | {'session_ended'} | {'unreadable'}
-- 'replaced': another stream has opened since.
local session, requests, responses = KEYS[1], KEYS[2], KEYS[3]
local cursor, stream = ARGV[1], ARGV[2]

local refusal, record = check_active(session, nil, '0')
if refusal then return refusal end

if stream ~= '' then
  local newest = string.match(redis.call('HGET', responses, '~stream') or '', '^%S+')
  if newest ~= stream then return {'replaced'} end
end
return {'found', record, redis.call('PTTL', session), read_backlog(requests, cursor)}
