--[[
The method write() of a handle, which is a function of the core: its errors, what a trace tells of it, and who is blamed for an error of
the core itself.

	busted crates/lua/spec/writing_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

-- A server on port, to which one client has connected; both end when the server's side is over
local beginning = [[
	local server = require "net.server_trochee"
	local socket = require "socket"
	local listeners = { ondisconnect = function () server.setquitting("once") end }
	local port = assert(server.listen("127.0.0.1", 0, listeners)):serverport()
	local client = assert(socket.connect("127.0.0.1", port))
]]

describe("write", function ()
	it("says where it was called with what is no string", function ()
		local said = process.lua(beginning..[[
			function listeners.onconnect(conn)
				print(select(2, pcall(function () conn:write({}) end)))
				print(select(2, pcall(function () conn:write() end)))
				print(conn:write(12), conn:send("3"))
				conn:close()
				print(conn:write("late"))
			end
			server.loop()
			print((client:receive("*a")))
		]])
		assert.matches("^[^\n]*:%d+: bad argument #1 to 'write' %(string expected, got table%)\n", said)
		assert.matches("\n[^\n]*:%d+: bad argument #1 to 'write' %(string expected, got no value%)\n", said)
		assert.matches("\n2\t1\nnil\n123\n$", said)
	end)

	it("is in a trace, for those as well who have kept the method", function ()
		local said = process.lua(beginning..[[
			local trace = require "trochee.trace"
			function listeners.onconnect(conn)
				local write = conn.write
				assert(trace.start(conn))
				write(conn, "hello")
				trace.stop(conn[1], "enough")
				write(conn, "untold")
				conn:close()
			end
			server.loop()
			print((client:receive("*a")))
		]], "TROCHEE_LOG=debug")
		assert.matches("wrote 5 bytes, 5 are queued\n", said)
		assert.not_matches("wrote 6 bytes", said)
		assert.matches("hellountold\n$", said)
	end)

	-- The core has no error to raise at will: a coroutine's function in its place is one of C as well, and raises what is raised in it
	it("is not blamed for an error of the core", function ()
		local said = process.lua([[
			local core = require "trochee.state".core
			local next_event, fails = core.next_event, false
			core.next_event = coroutine.wrap(function (...)
				local results = table.pack(next_event(...))
				while not fails do
					results = table.pack(next_event(coroutine.yield(table.unpack(results, 1, results.n))))
				end
				error("the core has failed", 0)
			end)
		]]..beginning..[[
			function listeners.onincoming() fails = true end
			function listeners.onerror() print("onincoming is blamed") os.exit(1) end
			client:send("hello")
			print(pcall(server.loop))
		]])
		assert.matches("false\t[^\n]*the core has failed", said)
		assert.not_matches("onincoming", said)
	end)
end)
