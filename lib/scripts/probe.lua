-- Writes, reads, checks the time to live and deletes, to show that the store does all four.
-- KEYS  1 a key that nobody else uses
-- ARGV  1 any value  2 seconds to live
-- reply {'probed', the value as read, seconds to live as read, keys deleted}
local key = KEYS[1]
local value, seconds = ARGV[1], ARGV[2]

redis.call('SET', key, value, 'EX', seconds)
return {'probed', redis.call('GET', key), redis.call('TTL', key), redis.call('DEL', key)}
