--[[
A callback that holds the loop is named in the log, with its connection or timer, its file and line, and how long it took.

	busted crates/lua/spec/slow_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

-- A timer, and what a connection has its callback do. Each is told of at most once in ten seconds, so each has a program of its own
local program = [[
	local server = require "net.server_trochee"
	server.set_config { io_threads = %d; slow_callback = %s }
	local function work(seconds)
		local begun = os.clock()
		while os.clock() - begun < seconds do end
	end
	local slow = %q
	local listening = server.listen("127.0.0.1", 0, {
		onconnect = function () end;
		onincoming = function (conn)
			if slow == "onincoming" then work(0.4) end
			conn:close()
		end;
		ondisconnect = function () server.add_task(0.01, function () server.setquitting("once") end) end;
	})
	local port = listening:serverport()
	server.add_task(0, function ()
		if slow == "timer" then work(0.4) end
		server.addclient("127.0.0.1", port, {
			onconnect = function (conn) conn:write("hello") end;
			onincoming = function () end;
		})
	end)
	server.loop()
	print("slow callbacks: "..server.stats().slow_callbacks)
	for _, entry in ipairs(require "trochee.slow".list()) do
		print("entry", entry.seconds, entry.what)
	end
]]

local function run(slow, io_threads, setting)
	local said, status = process.lua(program:format(io_threads, setting or "0.2", slow))
	assert.equal(0, status, said)
	return said
end

describe("a callback that holds the loop", function ()
	for _, io_threads in ipairs { 0, 1 } do
		it(("is named, with %d I/O threads"):format(io_threads), function ()
			local said = run("timer", io_threads)
			assert.matches("The loop stood still for %d+%.%d%d s: a timer's callback, .-:%d+", said)
			assert.matches("slow callbacks: 1\n", said)
			assert.matches("entry\t%d+%.%d*\ta timer's callback", said)

			said = run("onincoming", io_threads)
			assert.matches("The loop stood still for %d+%.%d%d s: onincoming of FD %-?%d+ %(127%.0%.0%.1, .-:%d+", said)
			assert.matches("slow callbacks: 1\n", said)
		end)
	end

	it("is not named where nobody wants to know, and others never are", function ()
		assert.not_matches("stood still", run("timer", 0, "false"))
		local said = run("nothing", 0, "30")
		assert.not_matches("stood still", said)
		assert.matches("slow callbacks: 0\n", said)
	end)
end)
