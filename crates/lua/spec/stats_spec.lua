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
		print("counter "..name, value)
	end
	for name, value in pairs(server.gauges()) do
		print("gauge "..name, ("%.0f"):format(value))
	end
	for name, found in pairs(server.histograms()) do
		assert(#found.counts == #found.bounds + 1 and found.sum >= 0)
		print("histogram "..name, found.counts[#found.counts])
	end
	for name, kinds in pairs(server.tallies()) do
		local sum = 0
		for _, count in pairs(kinds) do sum = sum + count end
		print("tally "..name, sum)
	end
	for _, found in ipairs(server.listeners()) do
		assert(found.address == "127.0.0.1" and found.port == port)
		print("listener accepted", found.accepted)
		print("listener open", found.open)
	end
	for number, of_thread in ipairs(server.thread_stats()) do
		print("thread "..number, of_thread.accepted)
	end
]]

local function counters(io_threads)
	local said, status = process.lua(("local getenv = os.getenv; os.getenv = function (name) return name == 'IO_THREADS' and '%d' or getenv(name) end\n")
		:format(io_threads)..program)
	assert.equal(0, status, said)
	local found = { counter = {}, gauge = {}, thread = {}, histogram = {}, tally = {}, listener = {} }
	for kind, name, value in said:gmatch("(%l+) ([%w_]+)\t(%d+)\n") do
		found[kind][tonumber(name) or name] = tonumber(value)
	end
	return found.counter, said, found.gauge, found.thread, found
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
			assert.is_true(found.sent_bytes >= 10, said)
			assert.is_true(found.busy_nanoseconds > 0, said)
		end)

		it(("has histograms, tallies and listeners, with %d I/O threads"):format(io_threads), function ()
			local counter, said, _, _, found = counters(io_threads)
			assert.is_true(found.histogram.turn_seconds > 0, said)
			assert.is_true(found.histogram.turn_events > 0 and found.histogram.wait_seconds > 0, said)
			assert.equal(counter.timers_fired, found.histogram.lag_seconds, said)
			assert.is_true(counter.timers_set >= counter.timers_fired and counter.timers_fired >= 1, said)
			assert.is_true(counter.waiting_nanoseconds > 0, said)
			assert.equal(0, found.histogram.handshake_seconds, said)
			assert.is_true(found.tally.closed_connections >= counter.ended, said)
			assert.equal(1, found.listener.accepted, said)
			assert.is_true(found.listener.open <= 1, said)
			assert.equal(io_threads > 0, counter.batches > 0, said)
		end)

		it(("tells of each thread, and what is in use, with %d I/O threads"):format(io_threads), function ()
			local _, said, gauges, threads = counters(io_threads)
			assert.equal(1 + io_threads, #threads, said)
			-- Where there are threads, they accept.
			assert.equal(1, threads[1 + io_threads], said)
			assert.is_true(gauges.descriptors > 3 and gauges.descriptors < gauges.descriptors_allowed, said)
			assert.is_true(gauges.places_allowed > 0 and gauges.places_allowed < gauges.descriptors_allowed, said)
			assert.equal(0, gauges.waiting_handshakes, said)
			assert.equal(4096, gauges.waiting_handshakes_allowed, said)
			assert.is_true(gauges.queued_memory_allowed_bytes > 1000000, said)
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
		local _, _, _, _, found = counters(0)
		for _, names in ipairs { found.counter, found.gauge, found.histogram, found.tally } do
			for name in pairs(names) do
				known[name] = true
			end
		end
		assert.same(known, documented)
	end)
end)
