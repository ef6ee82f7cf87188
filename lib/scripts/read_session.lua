-- Reads a session. A guest's address that has tried too many unknown codes in this minute is not told anything.
-- KEYS  1 the session  2 counter: unknown codes of this address
-- ARGV  1 unknown codes an address may try in a minute; 0 for the host, whose token has proved the code
-- reply {'found', record, ms to live} | {'missing'} | {'limited', seconds}

local guest = ARGV[1] ~= '0'
local seconds = guest and limited(KEYS[2], ARGV[1])
if seconds then return {'limited', seconds} end

local record = redis.call('GET', KEYS[1])
if record then return {'found', record, redis.call('PTTL', KEYS[1])} end

if guest then count(KEYS[2]) end
return {'missing'}
