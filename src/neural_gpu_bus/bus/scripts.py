"""Every step on Redis that has to be whole: one Lua script each. Redis 6.2+ and Valkey.

Keys, all in one hash slot:
    <prefix>jobs           stream; an entry stays from submit until the answer
    <prefix>dead           stream of jobs given up, the newest ``DEAD_MAX``
    <prefix>workers        sorted set: worker name, scored by when its word runs out (ms)
    <prefix>job:<id>       the job's entry in the stream
    <prefix>answer:<id>    list of one answer, with a time to live
"""

GROUP = "workers"

#: Jobs given up that are kept for a person to look at.
DEAD_MAX = 1_000

#: The group may be gone with its stream (flush, eviction, failover); from 0, so nothing is skipped.
_WITH_GROUP = """
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
"""

#: Redis's own clock: workers on different hosts need not agree on theirs.
_NOW_MS = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""

#: What ``SUBMIT`` says where the id is another job's.
ANOTHER_JOB = -1

#: KEYS jobs, job:<id>, answer:<id>; ARGV group, id, job, waiting_max, fingerprint. 1 added, 0 known
#: already, -1 known as another job, {waiting} refused. A failed job may be tried again as it was;
#: its old answer goes. Not mended under its id: a worker taken for dead may still finish the old
#: one, and the ledger of what was stored knows ids alone.
SUBMIT = (
    _WITH_GROUP
    + """
local function known_as(fingerprint) return fingerprint == ARGV[5] and 0 or -1 end
local raw = redis.call('LINDEX', KEYS[3], 0)
local answer = raw and cmsgpack.unpack(raw)
if answer and (answer.status ~= 'failed' or known_as(answer.fingerprint) ~= 0) then
    return known_as(answer.fingerprint)
end
local entry = redis.call('GET', KEYS[2])
local found = entry and redis.call('XRANGE', KEYS[1], entry, entry)[1]
if found then return known_as(found[2][6]) end
local waiting = redis.call('XLEN', KEYS[1]) - redis.call('XPENDING', KEYS[1], ARGV[1])[1]
if waiting >= tonumber(ARGV[4]) then return {waiting} end
redis.call('DEL', KEYS[3])
entry = redis.call('XADD', KEYS[1], '*', 'id', ARGV[2], 'job', ARGV[3],
    'fingerprint', ARGV[5])
redis.call('SET', KEYS[2], entry)
return 1
"""
)

#: KEYS jobs; ARGV group. Makes stream and group where they are missing.
ENSURE_GROUP = _WITH_GROUP + "return 1"

#: KEYS jobs; ARGV group, worker, lease_ms. A job whose worker was silent for the lease becomes
#: this worker's: {entry, fields, deliveries}, or nothing. Not XAUTOCLAIM, which keeps the number of
#: deliveries to itself. A pending entry that the stream lost is forgotten.
TAKE_OVER = (
    _WITH_GROUP
    + """
local found = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', 1)[1]
if not found then return false end
local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], found[1])[1]
if not claimed then
    redis.call('XACK', KEYS[1], ARGV[1], found[1])
    return false
end
return {found[1], claimed[2], found[4] + 1}
"""
)

#: KEYS jobs, workers; ARGV group, worker, lease_ms, entry or ''. Only the entry's
#: present owner resets its idle time: a worker that was stopped for long must not take it back.
BEAT = (
    _NOW_MS
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_ms)
redis.call('ZADD', KEYS[2], now_ms + ARGV[3], ARGV[2])
if ARGV[4] == '' then return 1 end
local found = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[4], ARGV[4], 1)
if found.err or not found[1] or found[1][2] ~= ARGV[2] then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[4], 'JUSTID')
return 1
"""
)

#: KEYS jobs, job:<id>, answer:<id>; ARGV group, entry, answer, ttl_s. The first answer stays.
#: Only one group reads the stream, so deleting with the acknowledgement loses nothing. A worker
#: taken for lost may answer a job that was submitted again since: that entry goes too.
FINISH = """
redis.pcall('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
local newest = redis.call('GET', KEYS[2])
if newest then
    redis.pcall('XACK', KEYS[1], ARGV[1], newest)
    redis.call('XDEL', KEYS[1], newest)
end
redis.call('DEL', KEYS[2])
redis.call('RPUSH', KEYS[3], ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
return 1
"""

#: KEYS jobs, job:<id>, answer:<id>; ARGV group. {state, worker, silent_ms, submitted_ms ago}.
STATE = (
    _NOW_MS
    + """
local answer = redis.call('LINDEX', KEYS[3], 0)
if answer then return {cmsgpack.unpack(answer).status, '', 0, 0} end
local entry = redis.call('GET', KEYS[2])
if not entry or #redis.call('XRANGE', KEYS[1], entry, entry) == 0 then
    return {'lost', '', 0, 0}
end
local age = now_ms - tonumber(string.match(entry, '^%d+'))
local found = redis.pcall('XPENDING', KEYS[1], ARGV[1], entry, entry, 1)
if found.err or not found[1] then return {'waiting', '', 0, age} end
return {'running', found[1][2], found[1][3], age}
"""
)

#: KEYS jobs, dead, workers; ARGV group. {waiting, running, dead, worker...}.
STATISTICS = (
    _NOW_MS
    + """
local running = redis.pcall('XPENDING', KEYS[1], ARGV[1])
running = running.err and 0 or running[1]
local workers = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. now_ms, '+inf')
local all = redis.call('XLEN', KEYS[1])
return {all - running, running, redis.call('XLEN', KEYS[2]), unpack(workers)}
"""
)

#: KEYS jobs, workers; ARGV group. Consumers whose worker is gone and that hold no job: each
#: worker process leaves one, and Redis never forgets them by itself.
FORGET_CONSUMERS = (
    _WITH_GROUP
    + _NOW_MS
    + """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local name, pending = consumer[2], consumer[4]
    local until_ms = redis.call('ZSCORE', KEYS[2], name)
    if pending == 0 and (not until_ms or tonumber(until_ms) < now_ms) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], name)
    end
end
return 1
"""
)

#: KEYS jobs, workers; ARGV group, worker. A worker that ends in order.
LEAVE = """
redis.call('ZREM', KEYS[2], ARGV[2])
local held = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if not held.err and #held == 0 then
    redis.pcall('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return 1
"""
