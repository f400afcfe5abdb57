--[[
What trochee counts: that it does, and that docs/counters.md has every counter and no other.

	busted crates/lua/spec/stats_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

-- One client that says something and leaves; then every counter on a line of its own.
local program = [[
	local server = require "net.server_trochee"
	server.set_config { io_threads = tonumber(os.getenv "IO_THREADS") }
	local client
	local listening = server.listen("127.0.0.1", 0, {
		onincoming = function (conn, data) conn:write(data) end;
		ondisconnect = function () server.setquitting("once") end;
	})
	local port = listening:serverport()
	server.add_task(0, function ()
		client = server.addclient("127.0.0.1", port, {
			onconnect = function (conn) conn:write("hello") end;
			onincoming = function (conn) conn:close() end;
		})
	end)
	server.loop()
	for name, value in pairs(server.stats()) do
		print(name, value)
	end
]]

local function counters(io_threads)
	local said, status = process.lua(("local getenv = os.getenv; os.getenv = function (name) return name == 'IO_THREADS' and '%d' or getenv(name) end\n")
		:format(io_threads)..program)
	assert.equal(0, status, said)
	local found = {}
	for name, value in said:gmatch("([%w_]+)\t(%d+)\n") do
		found[name] = tonumber(value)
	end
	return found, said
end

describe("server.stats()", function ()
	for _, io_threads in ipairs { 0, 1 } do
		it(("counts what happened, with %d I/O threads"):format(io_threads), function ()
			local found, said = counters(io_threads)
			assert.equal(1, found.accepted, said)
			assert.equal(10, found.received_bytes, said)
			assert.is_true(found.ended >= 1, said)
			assert.is_true(found.turns > 0, said)
			assert.equal(0, found.tls_failures, said)
		end)
	end

	it("is what docs/counters.md says", function ()
		local file = assert(io.open(here.."../../../docs/counters.md"))
		local text = file:read("a")
		file:close()
		local documented = {}
		for name in text:gmatch("\n| `([%w_]+)` |") do
			documented[name] = true
		end
		local known = {}
		for name in pairs((counters(0))) do
			known[name] = true
		end
		assert.same(known, documented)
	end)
end)
