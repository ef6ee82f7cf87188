-- Finds out which waiting calls of a function instance have missed something, and renews the instance as a listener for the
-- others.
-- KEYS  for each waiting call: the session, its requests, its responses
-- ARGV  1 the instance's channel  2 what to publish there, which shows that the subscription works, empty for nothing
--       3 seconds that messages live; then for each waiting call: its role, host, guest or watcher (of the tools); the host
--       '<name>/<attempt>', the id that the guest waits for, or the number of lists; the host's cursor; the expiry that the
--       host knows
-- reply {'checked', 1 if the first call has to look, ...}
local channel, echo, seconds = ARGV[1], ARGV[2], ARGV[3]

local reply = {'checked'}
for place = 0, #KEYS / 3 - 1 do
  local session, requests, responses = KEYS[3 * place + 1], KEYS[3 * place + 2], KEYS[3 * place + 3]
  local role, who, cursor, expires = unpack(ARGV, 4 * place + 4, 4 * place + 7)
  local record = redis.call('GET', session)
  local same = record and get_field(record, 'active') == 'true'
  if same then expire_messages(requests, responses, record, seconds) end
  if same and role == 'guest' then
    same = parse_pending(redis.call('HGET', responses, who) or '') ~= nil
  elseif same and role == 'watcher' then
    same = (redis.call('HGET', responses, '~tools') or '0') == who
  elseif same then
    local after = '(' .. cursor
    same = string.match(redis.call('HGET', responses, '~hosts') or '', '^%S+') == who
      and get_field(record, 'expiresAt') == expires
      and #redis.call('XRANGE', requests, after, '+', 'COUNT', 1) == 0
  end
  if same then listen(responses, role == 'host' and 'host' or 'guest', channel) end
  if same and role == 'watcher' then expire_with(session, responses) end
  table.insert(reply, same and 0 or 1)
end
if echo ~= '' then redis.call('PUBLISH', channel, echo) end
return reply
