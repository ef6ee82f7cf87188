-- Takes the list of tools that the host offers, in place of the list before. A list that differs is notified to those who
-- watch it. The field '~tools' counts the lists.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network sends
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute  3 the list, as JSON
--       4 bytes sent in ten minutes
-- reply {'written'} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
local session, misses, known, responses, tools, sent = KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[6], KEYS[7]
local created, misses_limit, list, sent_limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end

if redis.call('GET', tools) ~= list then
  refusal = refuse_over(sent, string.len(list), sent_limit)
  if refusal then return refusal end
  redis.call('SET', tools, list, 'PX', math.max(redis.call('PTTL', session), 1))
  increase(sent, string.len(list), BYTES_SECONDS)
  local number = redis.call('HINCRBY', responses, '~tools', 1)
  expire_with(session, responses)
  ring(responses, 'guest', record, 'tools ' .. number)
end
return {'written'}
