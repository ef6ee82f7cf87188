-- Takes a host that is gone off those who listen, unless another has come after it, and notifies the guests that wait.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute  3 the host: '<name>/<attempt>'
-- reply {'left'} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
local session, misses, known, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[5]
local created, misses_limit, host = ARGV[1], ARGV[2], ARGV[3]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
if string.match(redis.call('HGET', responses, '~hosts') or '', '^%S+') == host then
  remove_hosts(responses)
  ring(responses, 'guest', record, 'left')
end
return {'left'}
