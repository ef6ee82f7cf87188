-- Reads what became of a request.
-- KEYS  1 the session  2 its responses  3 counter: unknown codes of this address
-- ARGV  1 id  2 unknown codes an address may try in a minute; 0 for a caller who has proved to know the code
-- reply {'pending', ms to live} | {'answered', ms since 1970, kind, text} | {'unknown'} | {'limited', seconds}
--       | {'missing'} | {'ended'}

local refusal = closed_to_guest(KEYS[1], KEYS[3], ARGV[2])
if refusal then return refusal end

local held = redis.call('HGET', KEYS[2], ARGV[1])
if not held then return {'unknown'} end
local at, _, kind, text = answered(held)
if at then return {'answered', at, kind, text} end
if not pending(held) then return {'broken'} end
return {'pending', redis.call('PTTL', KEYS[1])}
