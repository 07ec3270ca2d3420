-- Linearizable reads of the keys that set.lua writes.
local count = 0

request = function()
  count = count + 1
  return wrk.format("GET", "/get?key=key" .. count % 10000)
end
