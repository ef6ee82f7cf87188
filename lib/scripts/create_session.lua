-- Creates a session, unless its code is taken or the address has created enough of them in this minute.
-- KEYS  1 the session  2 counter: sessions of this address  3 counter: this very call
-- ARGV  1 code  2 address, as JSON  3 seconds to live  4 sessions an address may create in a minute
-- reply {'created', record, ms to live} | {'taken'} | {'limited', seconds}
-- Run again with the same arguments it replies 'created' again: the third counter knows the call.

local record = redis.call('GET', KEYS[1])
if record then
  if redis.call('EXISTS', KEYS[3]) == 0 then return {'taken'} end
  return {'created', record, redis.call('PTTL', KEYS[1])}
end

local seconds = limited(KEYS[2], ARGV[4])
if seconds then return {'limited', seconds} end

local created, ttl = now(), tonumber(ARGV[3])
record = '{"code":"' .. ARGV[1] .. '","createdAt":"' .. iso(created) .. '","expiresAt":"' .. iso(created + ttl * 1000)
  .. '","ip":' .. ARGV[2] .. ',"active":true}'
redis.call('SET', KEYS[1], record, 'EX', ttl, 'NX')
count(KEYS[2])
count(KEYS[3])
return {'created', record, redis.call('PTTL', KEYS[1])}
