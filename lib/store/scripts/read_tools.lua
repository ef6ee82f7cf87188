-- Reads the list of tools that the host offers, and notifies the host if an MCP client reads it.
-- KEYS  1 the session  2 counter: unknown codes of this network  3 the codes that this network has found
--       4 its requests  5 its responses  6 its tools
--       7 counter: bytes that this network reads
-- ARGV  1 creation of the session that the host token is for, empty for a guest  2 unknown codes a minute
--       3 bytes read in ten minutes  4 the MCP client as JSON, empty for any other caller
-- reply {'found', the list as JSON, empty if there is none} | {'session_not_found'} | {'session_ended'}
--       | {'host_token_wrong'} | {'rate_limited', seconds, counter, room, codes or nothing} | {'unreadable'}
local session, misses, known, responses, tools, read = KEYS[1], KEYS[2], KEYS[3], KEYS[5], KEYS[6], KEYS[7]
local created, misses_limit, read_limit, client = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local refusal, record = check_active(session, misses, known, created, misses_limit)
if refusal then return refusal end
local list = redis.call('GET', tools) or ''
refusal = spend_read(read, string.len(list), read_limit)
if refusal then return refusal end
if client ~= '' then ring(responses, 'host', record, 'guest ' .. string.len(client) .. ' ' .. client) end
return {'found', list}
