-- Takes the host's answer to a request, the first one for each request, and notifies the guests that wait.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network sends
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute
--       3 id  4 the request's cursor, empty if the host does not name it  5 kind: result or error  6 text
--       7 bytes in the session, at most  8 bytes sent in ten minutes  9 seconds that messages live
-- reply {'answered'} | {'repeated'} | {'already_answered'} | {'request_not_found'} | {'session_full', limit}
--       | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
-- Run again with the same arguments it replies 'repeated'. 'request_not_found' also if the id is that of another request by
-- now: an answer to a request that was withdrawn must not reach the next one with its id.
local session, misses, known, requests, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local sent = KEYS[7]
local created, misses_limit, id, named_cursor, kind, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local bytes_limit, sent_limit, seconds = tonumber(ARGV[7]), ARGV[8], ARGV[9]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
expire_messages(requests, responses, record, seconds)

local held = redis.call('HGET', responses, id)
if not held then return {'request_not_found'} end
local at, _, held_kind, held_text = parse_answered(held)
if at then return {held_kind == kind and held_text == text and 'repeated' or 'already_answered'} end

local cursor, bytes, digest, network, call = parse_pending(held)
if not cursor then return {'unreadable'} end
if named_cursor ~= '' and named_cursor ~= cursor then return {'request_not_found'} end
refusal = refuse_over(sent, string.len(text) + OVERHEAD, sent_limit)
if refusal then return refusal end
local change = string.len(text) - bytes
if not make_room(responses, change, bytes_limit) then return {'session_full', bytes_limit} end

local answered = now()
local answer = string.format('answered %.0f ', answered) .. digest .. ' ' .. kind .. ' ' .. text
local place = redis.call('HINCRBY', responses, '~answers', 1)
local field = '~answer:' .. place
redis.call('HSET', responses, id, answer, field, id)
redis.call('HINCRBY', responses, '~bytes', change)
close_request(requests, responses, cursor, network, call)
increase(sent, string.len(text) + OVERHEAD, BYTES_SECONDS)
local message = 'response ' .. id
if fits(text) then message = table.concat({message, iso(answered), kind, string.len(text), text}, ' ') end
ring(responses, 'guest', record, message)
return {'answered'}
