--[[
How Lua's collector works under the loop, and who has the last word on it. Every case runs in a process of its own.

	busted crates/lua/spec/collector_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

-- A loop of many turns, then the end of the program. pause() and speed() say what is set.
local prelude = [[
	local server = require "net.server_trochee"
	local function pause() local found = collectgarbage("setpause", 0); collectgarbage("setpause", found); return found end
	local function speed() local found = collectgarbage("setstepmul", 0); collectgarbage("setstepmul", found); return found end
	local function turns(count)
		server.add_task(0, function ()
			count = count - 1
			if count > 0 then return 0 end
			server.setquitting("once")
		end)
		server.loop()
	end
	-- As Prosody does; Lua rounds 105 to 104.
	collectgarbage("incremental", 105, 500)
]]

local function says(expected, program)
	local said, status = process.lua(prelude..program)
	assert.equal(0, status, said)
	assert.equal(expected, said)
end

describe("the collector", function ()
	it("lets the heap double, in small steps", function ()
		says("200\t16\n", [[turns(40) print(pause(), speed())]])
	end)

	it("is what the program has made of it, where that is less often or slower", function ()
		says("400\t8\n", [[collectgarbage("incremental", 400, 8) turns(40) print(pause(), speed())]])
	end)

	it("follows a change by somebody else, and gives back what that was", function ()
		says("200\t16\n148\t300\n", [[
			turns(40)
			collectgarbage("incremental", 150, 300)
			turns(40)
			print(pause(), speed())
			server.set_config { gc_headroom = false }
			turns(40)
			print(pause(), speed())
		]])
	end)

	it("stays as it is without gc_headroom", function ()
		says("104\t500\n", [[server.set_config { gc_headroom = false } turns(40) print(pause(), speed())]])
	end)

	it("has no more room than gc_headroom", function ()
		-- A heap of 20 MB may grow by a twentieth and a bit, whatever is thrown away.
		says("true\ttrue\n", [[
			server.set_config { gc_headroom = 2 * 1024 * 1024 }
			local alive = {}
			for i = 1, 20 do alive[i] = ("x"):rep(1024 * 1024) end
			collectgarbage()
			local before, most, thrown = collectgarbage("count"), 0, 0
			server.add_task(0, function ()
				for i = 1, 200 do
					thrown = thrown + #(tostring(i):rep(500))
					most = math.max(most, collectgarbage("count"))
				end
				return 0
			end)
			turns(400)
			print(thrown > 50e6, most - before < 4 * 1024 or most - before)
		]])
	end)

	it("leaves no more than that of a burst, and gives it back to the system", function ()
		says("true\ttrue\n", [[
			-- On a busy machine it takes a while, of which the log need not tell
			server.set_config { slow_callback = false }
			local function resident()
				for line in io.lines("/proc/self/smaps_rollup") do
					local kb = line:match("^Rss:%s+(%d+)")
					if kb then return tonumber(kb) / 1024 end
				end
			end
			turns(40)
			local heap, memory = collectgarbage("count") / 1024, resident()
			-- What lives for a moment, in the midst of which a cycle ends
			local alive, size = {}, 0
			repeat
				for i = 1, 1000 do alive[#alive+1] = { name = "junk", attr = {}, tags = {}, i } end
				size = collectgarbage("count") / 1024 - heap
			until size > 60
			local grown = resident() - memory
			alive = nil
			turns(40)
			local give_up = os.time() + 20
			local function is_over()
				return collectgarbage("count") / 1024 - heap < 4 and resident() - memory < grown / 4
			end
			server.add_task(0.1, function ()
				if is_over() or os.time() > give_up then
					server.setquitting("once")
				else
					return 0.1
				end
			end)
			server.loop()
			print(grown > 50, is_over())
		]])
	end)

	describe("at a reload of all certificates", function ()
		local name = os.tmpname()
		assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=example.test "
			.."-keyout %s.key -out %s.crt 2>/dev/null"):format(name, name)))
		teardown(function ()
			for _, suffix in ipairs { "", ".key", ".crt" } do os.remove(name..suffix) end
		end)

		-- What each reload throws away is 3 MB, and hardly any of it in the heap
		local reloading = [[
			-- On a busy machine a reload takes a while, of which the log need not tell
			server.set_config { slow_callback = false, gc_headroom = 4 * 1024 * 1024 }
			local ssl = require "ssl"
			local ballast, contexts = {}, {}
			for i = 1, 200000 do ballast[i] = { i } end
			local function reload()
				for i = 1, 60 do
					contexts[i] = assert(ssl.newcontext { mode = "server", protocol = "sslv23",
						key = "NAME.key", certificate = "NAME.crt" })
				end
			end
			local function resident()
				for line in io.lines("/proc/self/smaps_rollup") do
					local kb = line:match("^Rss:%s+(%d+)")
					if kb then return kb / 1024 end
				end
			end
		]]

		local function tells(program)
			local said, status = process.lua(prelude..(reloading..program):gsub("NAME", name))
			assert.equal(0, status, said)
			return said
		end

		it("leaves no more than gc_headroom, however often that is", function ()
			local said = tells [[
				local function reloads(count)
					server.add_task(0, function ()
						reload()
						count = count - 1
						if count > 0 then return 0.001 end
						server.setquitting("once")
					end)
					server.loop()
					return resident()
				end
				local before = reloads(2)
				print(reloads(12) - before)
			]]
			local grown = assert(tonumber(said), said)
			assert.is_true(grown < 8, grown.." MB")
		end)

		it("does not go through the heap while everybody waits, and leaves nothing when it is calm again", function ()
			local said = tells [[
				server.set_config { slow_callback = false }
				local cycles, all = 0, setmetatable({}, { __mode = "v" })
				local function watch()
					setmetatable({}, { __gc = function () cycles = cycles + 1 watch() end })
				end
				local function alive()
					local count = 0
					for _ in pairs(all) do count = count + 1 end
					return count
				end
				server.add_task(0, function ()
					reload()
					server.setquitting("once")
				end)
				server.loop()
				turns(40)
				for i, context in ipairs(contexts) do all[i] = context end
				collectgarbage() collectgarbage()
				watch()
				local before, give_up = alive(), os.time() + 30
				server.add_task(0, function ()
					if contexts[1] == all[1] then
						reload()
						print(cycles, before, alive())
					elseif alive() == 0 or os.time() > give_up then
						server.setquitting("once")
						return
					end
					return 0.1
				end)
				server.loop()
				print(alive())
			]]
			assert.equal("0\t60\t60\n0\n", said)
		end)
	end)

	it("keeps what it has where gc_headroom is wrong", function ()
		local said = process.lua(prelude..[[
			server.set_config { gc_headroom = 1048576 }
			server.set_config { gc_headroom = "much" }
			turns(40)
			print(require "trochee.state".settings.gc_headroom)
		]])
		assert.truthy(said:find("network_settings.gc_headroom must be a whole number above 0 or false, not a string; keeping 1048576",
			1, true), said)
		assert.equal("1048576", said:match("([^\n]*)\n$"), said)
	end)
end)
