-- Passes the host's report of progress on to the guests that wait for the request, and stores nothing of it.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network sends
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute
--       3 id  4 the report, as JSON in one line  5 bytes sent in ten minutes
-- reply {'reported'} | {'request_not_found'} | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
local session, misses, known, responses, sent = KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[7]
local created, misses_limit, id, report, sent_limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
if not parse_pending(redis.call('HGET', responses, id) or '') then return {'request_not_found'} end
refusal = refuse_over(sent, string.len(report), sent_limit)
if refusal then return refusal end
increase_if_possible(sent, string.len(report), BYTES_SECONDS)
ring(responses, 'guest', record, table.concat({'progress', id, string.len(report), report}, ' '))
return {'reported'}
