-- Writes a million new keys of 16 bytes with values of 100 bytes, then stops.
local value = string.rep("x", 100)
local count = 0

request = function()
  count = count + 1
  if count > 1000000 then
    wrk.thread:stop()
  end
  return wrk.format("POST", "/set", nil, string.format('{"key":"key-%012d","value":"%s"}', count, value))
end
