-- Who listens to a session, and notifications to them.

-- An instance enters itself again every half minute (`check_waiting`). One that does not is gone after so many milliseconds.
local LISTENS_MS = 45000

-- Who listens to a session: lines '<ms since 1970> <role> <channel>' in the field '~listeners', the role being host or
-- guest, the channel that of a function instance in which a call waits.
local function read_listeners(responses)
  local found = {}
  local since = now() - LISTENS_MS
  local lines = redis.call('HGET', responses, '~listeners') or ''
  for at, role, channel in string.gmatch(lines, '(%d+) (%a+) ([^\n]+)\n') do
    if tonumber(at) > since then table.insert(found, {at = at, role = role, channel = channel}) end
  end
  return found
end

-- What stands for the channel of a host that polls: it listens between its reads, and nothing is published to it.
local NO_CHANNEL = '-'

-- Enters an instance among those who listen, the newest first. Without a channel (empty) a guest does not listen, and a host
-- polls. The responses are there, and expire already.
local function listen(responses, role, channel)
  if channel == '' and role == 'guest' then return end
  if channel == '' then channel = NO_CHANNEL end
  local lines = {string.format('%.0f %s %s\n', now(), role, channel)}
  for _, other in ipairs(read_listeners(responses)) do
    if (other.role ~= role or other.channel ~= channel) and #lines < 32 then
      table.insert(lines, other.at .. ' ' .. other.role .. ' ' .. other.channel .. '\n')
    end
  end
  -- A call that could not enter itself because the store is full still waits, and is checked every half minute.
  redis.pcall('HSET', responses, '~listeners', table.concat(lines))
end

-- For how many milliseconds a host is known to listen to the session, unless it leaves; 0 if no host listens.
local function host_ms(responses)
  local last = 0
  for _, listener in ipairs(read_listeners(responses)) do
    if listener.role == 'host' then last = math.max(last, tonumber(listener.at)) end
  end
  return last == 0 and 0 or last + LISTENS_MS - now()
end

-- Takes all hosts off those who listen.
local function remove_hosts(responses)
  local lines = {}
  for _, listener in ipairs(read_listeners(responses)) do
    if listener.role ~= 'host' then
      table.insert(lines, listener.at .. ' ' .. listener.role .. ' ' .. listener.channel .. '\n')
    end
  end
  redis.call('HSET', responses, '~listeners', table.concat(lines))
end

-- Publishes a notification to those listeners who have a role, or to all if the role is empty. It begins with the
-- session's code.
local function publish(listeners, role, record, message)
  local text = get_field(record, 'code') .. ' ' .. message
  local reached = {}
  for _, listener in ipairs(listeners) do
    local wants = role == '' or listener.role == role
    if wants and listener.channel ~= NO_CHANNEL and not reached[listener.channel] then
      reached[listener.channel] = true
      redis.call('PUBLISH', listener.channel, text)
    end
  end
end

-- The same to those who listen to a session now.
local function ring(responses, role, record, message)
  publish(read_listeners(responses), role, record, message)
end

-- Whether a text fits into a message: it is small, and one line.
local function fits(text)
  return string.len(text) <= 8192 and not string.find(text, '[\r\n]')
end
