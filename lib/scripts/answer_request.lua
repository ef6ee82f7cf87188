-- Takes the host's answer to a request, the first one for each id, and rings the session's bell.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 id  2 kind: result or error  3 text  4 the bell's channel  5 bytes in the session, at most
-- reply {'answered'} | {'repeated'} | {'already_answered'} | {'request_not_found'} | {'session_full', limit}
--       | {'session_not_found'} | {'session_ended'} | {'unreadable'}
-- Run again with the same arguments it replies 'repeated'.
local session, requests, responses = KEYS[1], KEYS[2], KEYS[3]
local id, kind, text, bell, bytes_limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local refusal = check_active(session, nil, '0')
if refusal then return refusal end

local held = redis.call('HGET', responses, id)
if not held then return {'request_not_found'} end
local at, _, held_kind, held_text = parse_answered(held)
if at then return {held_kind == kind and held_text == text and 'repeated' or 'already_answered'} end

local cursor, bytes, digest = parse_pending(held)
if not cursor then return {'unreadable'} end
local change = string.len(text) - bytes
if tonumber(redis.call('HGET', responses, '~bytes')) + change > bytes_limit then return {'session_full', bytes_limit} end

local answer = string.format('answered %.0f ', now()) .. digest .. ' ' .. kind .. ' ' .. text
redis.call('HSET', responses, id, answer)
redis.call('HINCRBY', responses, '~bytes', change)
redis.call('XDEL', requests, cursor)
local message = 'response ' .. id
redis.call('PUBLISH', bell, message)
return {'answered'}
