-- Creates a session, unless its code is taken or the network has created too many sessions in this minute.
-- KEYS  1 the session  2 counter: sessions of this network  3 marker: this very call
-- ARGV  1 code  2 address, as JSON  3 seconds to live  4 sessions a network may create in a minute
-- reply {'created', record, ms to live} | {'code_taken'} | {'rate_limited', seconds, counter, room}
-- Run again with the same arguments it replies 'created' again: the marker knows the call.
local session, sessions, this_call = KEYS[1], KEYS[2], KEYS[3]
local code, address, ttl, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local record = redis.call('GET', session)
if record then
  if redis.call('EXISTS', this_call) == 0 then return {'code_taken'} end
  return {'created', record, redis.call('PTTL', session)}
end

local refusal = refuse_over(sessions, 1, limit)
if refusal then return refusal end

local created = now()
record = '{"code":"' .. code .. '","createdAt":"' .. iso(created) .. '","expiresAt":"' .. iso(created + ttl * 1000)
  .. '","ip":' .. address .. ',"active":true}'
redis.call('SET', session, record, 'EX', ttl, 'NX')
increase(sessions, 1, 60)
increase(this_call, 1, 60)
return {'created', record, redis.call('PTTL', session)}
