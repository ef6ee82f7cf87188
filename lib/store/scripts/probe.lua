-- Uses all that the service needs of the store: a key that expires, a stream entry, the clock, a message.
-- KEYS  1 a key that nobody else uses  2 another one
-- ARGV  1 any value  2 seconds to live  3 the channel to send the value to
-- reply {'probed', the value as read, seconds to live as read, the value in the stream, ms since 1970, keys deleted}
local key, stream = KEYS[1], KEYS[2]
local value, seconds, channel = ARGV[1], ARGV[2], ARGV[3]

redis.call('SET', key, value, 'EX', seconds)
redis.call('XADD', stream, '*', 'value', value)
redis.call('EXPIRE', stream, seconds)
local entry = redis.call('XRANGE', stream, '-', '+')[1]
local read, ttl = redis.call('GET', key), redis.call('TTL', key)
redis.call('PUBLISH', channel, value)
return {'probed', read, ttl, entry[2][2], string.format('%.0f', now()), redis.call('DEL', key, stream)}
