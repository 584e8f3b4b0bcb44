-- Posts the file that LOAD_BODY names, with the token in LOAD_TOKEN, and says at the end, as one line of JSON,
-- how many answers came, how many of them were no 200s (with the first few), and what failed below HTTP.

local file = io.open(os.getenv("LOAD_BODY"), "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("LOAD_TOKEN")
file:close()

local threads = {}
bad = 0
first = ""

function setup(thread)
   table.insert(threads, thread)
end

function response(status, headers, body)
   if status ~= 200 then
      bad = bad + 1
      if #first < 2000 then
         first = first .. status .. " " .. body:sub(1, 300) .. "\n"
      end
   end
end

local function quoted(text)
   return '"' .. text:gsub("[%c\"\\]", function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency, requests)
   local failed, said = 0, ""
   for _, thread in ipairs(threads) do
      failed = failed + thread:get("bad")
      said = said .. thread:get("first")
   end
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"answers": %d, "bad": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d, "first": %s}\n',
      summary.requests, failed, errors.connect, errors.read, errors.write, errors.timeout, quoted(said)))
end
