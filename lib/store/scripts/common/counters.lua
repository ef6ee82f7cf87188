-- Counters of what a network does, which refuse what is too much.

-- Adds to a counter, which expires so many seconds after its first use.
local function increase(counter, amount, seconds)
  redis.call('INCRBY', counter, amount)
  if redis.call('TTL', counter) < 0 then redis.call('EXPIRE', counter, seconds) end
end

-- The same where a store that is full must not make the call fail.
local function increase_if_possible(counter, amount, seconds)
  redis.pcall('INCRBY', counter, amount)
  if redis.call('TTL', counter) < 0 then redis.pcall('EXPIRE', counter, seconds) end
end

-- The refusal if an amount more would pass a counter's limit, else nil. It names the seconds until the counter expires, the
-- counter, and what may still be added to it, so that an instance knows which calls are certain to be refused, too.
local function refuse_over(counter, amount, limit)
  local room = tonumber(limit) - tonumber(redis.call('GET', counter) or 0)
  if amount <= room then return nil end
  return {'rate_limited', math.max(redis.call('TTL', counter), 1), counter, math.max(room, 0)}
end

-- Bytes are counted over ten minutes.
local BYTES_SECONDS = 600

-- The refusal if a caller has read too many bytes, else nil: once it is refused, all reading is, until the counter expires.
-- Reading goes on in a store that is full.
local function spend_read(counter, bytes, limit)
  local refusal = refuse_over(counter, bytes, limit)
  if refusal then
    refusal[4] = 0
    return refusal
  end
  increase_if_possible(counter, bytes, BYTES_SECONDS)
end
