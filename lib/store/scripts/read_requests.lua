-- Reads a page of the requests that are not answered yet.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network reads
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute
--       3 the cursor to go on after  4 the host '<name>/<attempt>' that took the session over before, empty for none
--       5 the channel if it waits for more, else empty  6 bytes in a page, at most  7 bytes read in ten minutes
--       8 seconds that messages live
-- reply {'found', record, ms to live, {{id, payload, created, cursor}, ...}, 1 if there are more} | {'replaced'}
--       | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
-- 'replaced': another host, or a newer attempt of the same host, has taken the session over since.
local session, misses, known, requests, responses, read = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[7]
local created, misses_limit, cursor, host, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local page_bytes, read_limit, seconds = tonumber(ARGV[6]), ARGV[7], ARGV[8]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
expire_messages(requests, responses, record, seconds)

if host ~= '' then
  local newest = string.match(redis.call('HGET', responses, '~hosts') or '', '^%S+')
  if not newest then -- the responses were evicted, and their session's host with them
    redis.call('HSET', responses, '~hosts', host)
  elseif newest ~= host then
    return {'replaced'}
  end
  expire_with(session, responses)
  listen(responses, 'host', channel)
end
local page, more, bytes = read_page(requests, responses, cursor, page_bytes)
refusal = spend_read(read, bytes, read_limit)
if refusal then return refusal end
return {'found', record, redis.call('PTTL', session), page, more}
