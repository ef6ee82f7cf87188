-- Takes the host's answer to a request, the first one for each id, and tells the guests that wait.
-- KEYS  1 the session  2 counter: unknown codes of this address  3 marker: this address knows the session
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this address sends
-- ARGV  1 creation of the session that the host token is for  2 unknown codes a minute
--       3 id  4 kind: result or error  5 text  6 bytes in the session, at most  7 bytes a minute
-- reply {'answered'} | {'repeated'} | {'already_answered'} | {'request_not_found'} | {'session_full', limit}
--       | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'} | {'rate_limited', seconds} | {'unreadable'}
-- Run again with the same arguments it replies 'repeated'.
local session, misses, known, requests, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local sent = KEYS[7]
local created, misses_limit, id, kind, text, bytes_limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local sent_limit = ARGV[7]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end

local held = redis.call('HGET', responses, id)
if not held then return {'request_not_found'} end
local at, _, held_kind, held_text = parse_answered(held)
if at then return {held_kind == kind and held_text == text and 'repeated' or 'already_answered'} end

local cursor, bytes, digest = parse_pending(held)
if not cursor then return {'unreadable'} end
local seconds = retry_after(sent, string.len(text), sent_limit)
if seconds then return {'rate_limited', seconds} end
local change = string.len(text) - bytes
if not make_room(responses, change, bytes_limit) then return {'session_full', bytes_limit} end

local answered = now()
local answer = string.format('answered %.0f ', answered) .. digest .. ' ' .. kind .. ' ' .. text
local place = redis.call('HINCRBY', responses, '~answers', 1)
local field = '~answer:' .. place
redis.call('HSET', responses, id, answer, field, id)
redis.call('HINCRBY', responses, '~bytes', change)
redis.call('XDEL', requests, cursor)
increase(sent, string.len(text))
local message = 'response ' .. id
if fits(text) then message = table.concat({message, iso(answered), kind, string.len(text), text}, ' ') end
ring(responses, 'guest', record, message)
return {'answered'}
