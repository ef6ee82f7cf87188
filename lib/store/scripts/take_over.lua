-- Makes a host the session's, in place of the host before, and reads a page of the requests that are not answered yet.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network reads
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute
--       3 the cursor to go on after  4 the host: '<name>/<attempt>'  5 the channel if it waits for more, empty if it polls
--       6 the host that it may replace, empty for none, * for any  7 bytes in a page, at most
--       8 bytes read in ten minutes  9 seconds that messages live
-- reply {'found', record, ms to live, {{id, payload, created, cursor}, ...}, 1 if there are more} | {'replaced'}
--       | {'conflict', newest host} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
-- The field '~hosts' holds the last few hosts, the newest first. 'replaced': this host has made a newer attempt, or another
-- host has come after it. 'conflict': the newest host is not the host that it may replace.
local session, misses, known, requests, responses, read = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[7]
local created, misses_limit, cursor, host, channel, predecessor = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local page_bytes, read_limit, seconds = tonumber(ARGV[7]), ARGV[8], ARGV[9]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
expire_messages(requests, responses, record, seconds)

local name, attempt = string.match(host, '^(.*)/(%d+)$')
local newest
local kept = {host}
for held, held_name, held_attempt in string.gmatch(redis.call('HGET', responses, '~hosts') or '', '((%S+)/(%d+))') do
  if held_name == name and (newest or tonumber(attempt) < tonumber(held_attempt)) then return {'replaced'} end
  newest = newest or held
  if held_name ~= name and #kept < 8 then table.insert(kept, held) end
end
if newest and newest ~= host and newest ~= predecessor and predecessor ~= '*' then return {'conflict', newest} end
local page, more, bytes = read_page(requests, responses, cursor, page_bytes)
refusal = spend_read(read, bytes, read_limit)
if refusal then return refusal end
if newest ~= host then
  redis.call('HSET', responses, '~hosts', table.concat(kept, ' '))
  expire_with(session, responses)
  ring(responses, 'host', record, 'host ' .. host)
end
listen(responses, 'host', channel)
return {'found', record, redis.call('PTTL', session), page, more}
