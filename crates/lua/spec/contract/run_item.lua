-- lua5.4 run_item.lua SUBJECT ITEM
-- Runs one item of the contract on one backend, prints the result as one line of JSON, exits 0 when it passed.

local here = arg[0]:match("^(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local harness = require "harness"

if arg[1] == "--child" then
	harness.run_child(table.unpack(arg, 2))
elseif arg[1] and tonumber(arg[2]) then
	harness.run(arg[1], math.tointeger(tonumber(arg[2])))
else
	io.stderr:write("usage: run_item.lua ", table.concat(harness.subjects, "|"), " ITEM\n")
	os.exit(2)
end
