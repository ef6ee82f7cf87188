-- Reads what became of a request.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network reads
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
--       3 id  4 the channel if the caller waits for the response, else empty  5 bytes read in ten minutes
--       6 seconds that messages live
-- reply {'pending', ms to live, ms that a host is known to listen} | {'answered', when, kind, text} | {'request_not_found'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'session_not_found'} | {'session_ended'}
--       | {'host_token_wrong'} | {'unreadable'}
local session, misses, known, requests, responses, read = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[7]
local created, misses_limit, id, channel, read_limit, seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
expire_messages(requests, responses, record, seconds)

local held = redis.call('HGET', responses, id)
if not held then return {'request_not_found'} end
local at, _, kind, text = parse_answered(held)
if at then
  refusal = spend_read(read, string.len(text), read_limit)
  if refusal then return refusal end
  return {'answered', iso(tonumber(at)), kind, text}
end
if not parse_pending(held) then return {'unreadable'} end
listen(responses, 'guest', channel)
return {'pending', redis.call('PTTL', session), host_ms(responses)}
