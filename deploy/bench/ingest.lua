-- clipbridge
-- SPDX-License-Identifier: Apache-2.0
--
-- What wrk sends: the requests of a file, each once, each thread from a slice of its own.
-- Arguments: the file, the bytes of one request, how many there are, the number of threads, `again` if a thread shall
-- begin anew at the end of its slice, which is only right for a server that stores nothing, and how many milliseconds
-- each connection pauses between an answer and its next request, on average: 0 for none.

local threads = {}

function setup(thread)
    thread:set("number", #threads)
    table.insert(threads, thread)
end

function init(arguments)
    length = tonumber(arguments[2])
    slice = math.floor(tonumber(arguments[3]) / tonumber(arguments[4]))
    begins_anew = arguments[5] == "again"
    pause = tonumber(arguments[6] or "0")
    math.randomseed(number + 1)
    taken = 0
    accepted = 0
    others = 0
    other = ""
    ran_out = 0
    file = assert(io.open(arguments[1], "rb"))
    file:setvbuf("full", 1048576)
    file:seek("set", number * slice * length)
end

function request()
    if taken == slice and begins_anew then
        file:seek("set", number * slice * length)
        taken = 0
    end
    if taken == slice then
        -- wrk wants a request all the same; nothing is stored for this one, and its answer is not counted.
        ran_out = 1
        wrk.thread:stop()
        return "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    end
    taken = taken + 1
    return file:read(length)
end

-- From none to twice as long, so that connections do not fall into step.
function delay()
    return math.floor(2 * pause * math.random())
end

function response(status, _, body)
    if status == 200 and string.find(body, '"accepted"', 1, true) then
        accepted = accepted + 1
    elseif ran_out == 0 then
        others = others + 1
        other = status .. " " .. string.sub(body, 1, 200)
    end
end

-- Lua's %q is not JSON's: what is no plain character is left out.
local function text(value)
    return '"' .. string.gsub(value, '[^%w %p]', ""):gsub('[\\"]', "'") .. '"'
end

-- One line of JSON after all that wrk prints itself.
function done(summary, latency, _)
    local sum = { accepted = 0, others = 0, ran_out = 0 }
    local example = ""
    for _, thread in ipairs(threads) do
        for name, value in pairs(sum) do
            sum[name] = value + thread:get(name)
        end
        if thread:get("other") ~= "" then
            example = thread:get("other")
        end
    end
    local errors = summary.errors
    io.write(string.format(
        '\n{"accepted":%d,"others":%d,"other":%s,"ran_out":%s,"seconds":%.6f,"p50_milliseconds":%.3f,'
            .. '"p99_milliseconds":%.3f,"socket_errors":%d,"timeouts":%d}\n',
        sum.accepted, sum.others, text(example), tostring(sum.ran_out > 0), summary.duration / 1e6,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write,
        errors.timeout))
end
