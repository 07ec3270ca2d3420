-- Writes of 256-byte values to 10,000 keys.
local value = string.rep("x", 256)
local count = 0

request = function()
  count = count + 1
  return wrk.format("POST", "/set", nil, '{"key":"key' .. count % 10000 .. '","value":"' .. value .. '"}')
end
