-- Takes the host's answer to a request, the first one for each id, and rings the session's bell.
-- KEYS  1 the session  2 its requests  3 its responses
-- ARGV  1 id  2 kind: result or error  3 text  4 the bell's channel  5 bytes in the session, at most
-- reply {'answered'} | {'again'} | {'taken'} | {'unknown'} | {'full'} | {'missing'} | {'ended'}
-- Run again with the same arguments it replies 'again'.

local refusal = closed(KEYS[1])
if refusal then return refusal end

local held = redis.call('HGET', KEYS[3], ARGV[1])
if not held then return {'unknown'} end
local at, _, kind, text = answered(held)
if at then return {kind == ARGV[2] and text == ARGV[3] and 'again' or 'taken'} end

local cursor, bytes, digest = pending(held)
if not cursor then return {'broken'} end
local change = string.len(ARGV[3]) - bytes
if tonumber(redis.call('HGET', KEYS[3], '~bytes')) + change > tonumber(ARGV[5]) then return {'full'} end

local answer = string.format('answered %.0f ', now()) .. digest .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]
redis.call('HSET', KEYS[3], ARGV[1], answer)
redis.call('HINCRBY', KEYS[3], '~bytes', change)
redis.call('XDEL', KEYS[2], cursor)
local word = 'response ' .. ARGV[1]
redis.call('PUBLISH', ARGV[4], word)
return {'answered'}
