-- Takes the list of tools that the host offers, in place of the one before.
-- KEYS  1 the session  2 counter: unknown codes of this address  3 marker: this address knows the session
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this address sends
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute  3 the list, as JSON
--       4 bytes a minute
-- reply {'written'} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'} | {'rate_limited', seconds}
--       | {'unreadable'}
local session, misses, known, tools, sent = KEYS[1], KEYS[2], KEYS[3], KEYS[6], KEYS[7]
local created, misses_limit, list, sent_limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local refusal = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end

if redis.call('GET', tools) ~= list then
  local seconds = retry_after(sent, string.len(list), sent_limit)
  if seconds then return {'rate_limited', seconds} end
  redis.call('SET', tools, list, 'PX', math.max(redis.call('PTTL', session), 1))
  increase(sent, string.len(list))
end
return {'written'}
