--[[
A callback that holds the loop is named in the log, with its connection or timer, its file and line, how long it took, and where it was.

	busted crates/lua/spec/slow_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

-- A timer or a connection, and what its callback does. Each is told of at most once in ten seconds, so each has a program of its own
local program = [[
	local server = require "net.server_trochee"
	local socket = require "socket"
	server.set_config { io_threads = %d; slow_callback = %s }
	local where = %q
	-- In Lua, and in a C function, for 0.3 seconds; each on a line of its own
	local function compute()
		local begun = os.clock()
		while os.clock() - begun < 0.3 do end --computes here
	end
	local function wait()
		socket.sleep(0.3) --waits here
	end
	local function in_coroutine(f)
		return coroutine.wrap(function ()
			local ok, err = coroutine.resume(coroutine.create(function ()
				pcall(f)
				coroutine.yield()
			end))
			assert(ok, err)
		end)()
	end
	local slow = { compute = compute, wait = wait,
		["compute, in coroutines"] = function () in_coroutine(compute) end,
		["wait, in coroutines"] = function () in_coroutine(wait) end,
		nothing = function () end,
	}
	local function work(place)
		if where:match("^%%S+") == place then
			slow[where:match(" (.*)")]()
		end
	end
	local listening = server.listen("127.0.0.1", 0, {
		onconnect = function () end;
		onincoming = function (conn)
			work "onincoming"
			conn:close()
		end;
		ondisconnect = function () server.add_task(0.01, function () server.setquitting("once") end) end;
	})
	local port = listening:serverport()
	server.add_task(0, function ()
		work "timer"
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
	print("hook: "..tostring(debug.gethook()))
]]

local function line_of(mark)
	local _, lines = program:sub(1, (program:find(mark, 1, true))):gsub("\n", "")
	return lines + 1 + 1 -- process.lua puts a line in front
end

local function run(where, io_threads, setting, before)
	local said, status = process.lua((before or "")..program:format(io_threads, setting or "0.1", where))
	assert.equal(0, status, said)
	return said
end

describe("a callback that holds the loop", function ()
	for _, io_threads in ipairs { 0, 1 } do
		it(("is named, with %d I/O threads"):format(io_threads), function ()
			local said = run("timer compute", io_threads)
			assert.matches("The loop stood still for %d+%.%d%d s: a timer's callback, .-:%d+, which was at .-:%d+", said)
			assert.matches("slow callbacks: 1\n", said)
			assert.matches("entry\t%d+%.%d*\ta timer's callback", said)

			said = run("onincoming wait", io_threads)
			assert.matches("The loop stood still for %d+%.%d%d s: onincoming of conn%d+, FD %-?%d+ %(127%.0%.0%.1, .-:%d+, which was at ", said)
			assert.matches("slow callbacks: 1\n", said)
		end)
	end

	-- Where it was, to the line
	for _, what in ipairs { "compute", "wait", "compute, in coroutines", "wait, in coroutines" } do
		it("is asked where it is: "..what, function ()
			local said = run("onincoming "..what, 0)
			local verb = what:match("^%a+")
			local called = verb == "wait" and " in function 'socket%.[%a.]*sleep'\n" or ""
			assert.matches((", which was at %%(command line%%):%d%%f[%%D]%s"):format(line_of("--"..verb.."s here"), called), said)
			if what:match("coroutines") then
				local first, second = said:match("resumed by:\n(.-)\n\tresumed by:\n(.-)\nslow callbacks")
				assert.matches("in function 'coroutine%.resume'", first)
				assert.matches("server_trochee%.lua:%d+: in ", second)
			end
			assert.matches("hook: nil\n", said)
		end)
	end

	it("is told of once for each place", function ()
		local said = process.lua [[
			local server = require "net.server_trochee"
			server.set_config { slow_callback = 0.05 }
			local function compute()
				local begun = os.clock()
				while os.clock() - begun < 0.15 do end
			end
			local function elsewhere()
				local begun = os.clock()
				while os.clock() - begun < 0.15 do end
			end
			for _, work in ipairs { compute, compute, elsewhere, compute } do
				server.add_task(0, work)
			end
			server.add_task(0.01, function () server.setquitting("once") end)
			server.loop()
			print("slow callbacks: "..server.stats().slow_callbacks)
		]]
		assert.matches("slow callbacks: 4\n", said)
		local _, lines = said:gsub("The loop stood still for", "")
		assert.equal(2, lines, said)
	end)

	it("keeps the hook that was there before", function ()
		local said = run("timer compute", 0, nil, "local calls = 0 debug.sethook(function () calls = calls + 1 end, '', 1000000)\n")
		assert.matches("which was at ", said)
		assert.matches("hook: function: ", said)
	end)

	it("is watched by a thread, if it is to be named", function ()
		local count = [[
			local function threads()
				local found = io.popen("cat /proc/$PPID/task/*/comm 2>/dev/null")
				local _, count = found:read("a"):gsub("trochee%-watch\n", "")
				found:close()
				return count
			end
			local server = require "net.server_trochee"
			server.add_task(0, function ()
				print("by default: "..threads())
				server.set_config { slow_callback = false }
				server.add_task(0.01, function ()
					print("where it is off: "..threads())
					server.set_config { slow_callback = 1 }
					server.add_task(0.01, function ()
						print("where it is on again: "..threads())
						server.setquitting("once")
					end)
				end)
			end)
			print("before the loop: "..threads())
			server.loop()
		]]
		local said = process.lua(count)
		assert.matches("before the loop: 0\nby default: 1\nwhere it is off: 0\nwhere it is on again: 1\n", said)
	end)

	it("is not named where nobody wants to know, and others never are", function ()
		assert.not_matches("stood still", run("timer compute", 0, "false"))
		local said = run("onincoming nothing", 0, "30")
		assert.not_matches("stood still", said)
		assert.matches("slow callbacks: 0\n", said)
	end)
end)
