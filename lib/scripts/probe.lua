-- Writes, reads, checks the time to live and deletes, to show that the store does all four.
-- KEYS  1 a key that nobody else uses
-- ARGV  1 any value  2 seconds to live
-- reply {'probed', the value as read, seconds to live as read, keys deleted}

redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return {'probed', redis.call('GET', KEYS[1]), redis.call('TTL', KEYS[1]), redis.call('DEL', KEYS[1])}
