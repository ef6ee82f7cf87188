-- Takes a guest's request, once for each id, and notifies the host.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: requests of this network to this session  8 counter: bytes that this network sends
--       9 counter: bytes that this network reads
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
--       3 id  4 payload  5 the payload's digest  6 the channel if the guest waits for the response, else empty
--       7 the guest's network  8 requests a minute  9 requests pending, at most  10 those of one network, at most
--       11 bytes in the session, at most  12 bytes sent in ten minutes  13 bytes read in ten minutes
--       14 seconds that messages live  15 the call by which the guest may withdraw the request, empty for none
-- reply {'pending', ms to live, ms that a host is known to listen} | {'answered', when, kind, text} | {'id_conflict'}
--       | {'rate_limited', seconds, counter, room, codes or nothing} | {'too_many_pending', limit} | {'session_full', limit}
--       | {'session_not_found'} | {'session_ended'} | {'host_token_wrong'} | {'unreadable'}
-- A request that is known is not counted, and cannot be refused for a limit on what is sent.
local session, misses, known, requests, responses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local posted, sent, read = KEYS[7], KEYS[8], KEYS[9]
local created, misses_limit, id, payload, digest, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local network, posted_limit, pending_limit, share = ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local bytes_limit, sent_limit, read_limit, seconds = tonumber(ARGV[11]), ARGV[12], ARGV[13], ARGV[14]
local call = ARGV[15]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
expire_messages(requests, responses, record, seconds)

local held = redis.call('HGET', responses, id)
if held then
  local at, held_digest, kind, text = parse_answered(held)
  if not at then held_digest = select(3, parse_pending(held)) end
  if not held_digest then return {'unreadable'} end
  if held_digest ~= digest then return {'id_conflict'} end
  if at then
    refusal = spend_read(read, string.len(text), read_limit)
    if refusal then return refusal end
    return {'answered', iso(tonumber(at)), kind, text}
  end
  listen(responses, 'guest', channel)
  return {'pending', redis.call('PTTL', session), host_ms(responses)}
end

local bytes = string.len(payload)
refusal = refuse_over(posted, 1, posted_limit) or refuse_over(sent, bytes + OVERHEAD, sent_limit)
if refusal then return refusal end
if redis.call('XLEN', requests) >= pending_limit then return {'too_many_pending', pending_limit} end
if pending_of(requests, responses, network) >= share then return {'too_many_pending', share} end
if not make_room(responses, bytes + OVERHEAD, bytes_limit) then return {'session_full', bytes_limit} end

local cursor = redis.call('XADD', requests, '*', 'id', id, 'payload', payload)
local marker = table.concat({'pending', cursor, bytes, digest, network, call}, ' ')
local previous = redis.call('HGET', responses, '~last') or '0-0'
redis.call('HSET', responses, id, marker, '~last', cursor)
if call ~= '' then
  local call_field = '~call:' .. call
  redis.call('HSET', responses, call_field, id)
end
local share_field = '~pending:' .. network
redis.call('HINCRBY', responses, share_field, 1)
redis.call('HINCRBY', responses, '~bytes', bytes + OVERHEAD)
expire_with(session, requests)
expire_with(session, responses)
increase(posted, 1, 60)
increase(sent, bytes + OVERHEAD, BYTES_SECONDS)
listen(responses, 'guest', channel)
local message = 'request ' .. cursor
if fits(payload) then
  local at = iso(tonumber(string.match(cursor, '^%d+')))
  message = table.concat({message, previous, at, id, bytes, payload}, ' ')
end
ring(responses, 'host', record, message)
return {'pending', redis.call('PTTL', session), host_ms(responses)}
