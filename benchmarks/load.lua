-- What wrk sends: wrk -s load.lua URL -- view|save|mixed LABEL [TOKEN...]
-- The tokens take turns. Every save has a text of its own. At the end, one line for benchmarks/load.py to read.

local kind, label, cookies, views, only_thread = nil, nil, {}, {}, nil
turn = 0 -- global, so that `done`, which runs elsewhere, can ask the thread for it

function setup(thread)
  only_thread = thread
end

function init(args)
  kind, label = args[1], args[2]
  for number = 3, #args do
    cookies[#cookies + 1] = "session=" .. args[number]
  end
  for number = 1, math.max(#cookies, 1) do
    views[number] = wrk.format("GET", "/", { Cookie = cookies[number] })
  end
end

function request()
  turn = turn + 1
  local number = turn % #views + 1
  if kind == "save" or (kind == "mixed" and turn % 10 == 0) then
    local headers = { Cookie = cookies[number], ["Content-Type"] = "text/plain; charset=utf-8" }
    return wrk.format("PUT", "/session/quote/update", headers, label .. ", text " .. turn)
  end
  return views[number]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local p50, p99 = latency:percentile(50) / 1000, latency:percentile(99) / 1000
  local sent = only_thread:get("turn") - 1 -- wrk has asked once before it began
  print(string.format("RESULT %d %d %d %d %.3f %.3f", sent, summary.requests, failed, summary.duration, p50, p99))
end
