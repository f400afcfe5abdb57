-- Timers: items 16 to 24 of the contract.

local t = require "harness"

-- Keeps the loop busy so that several timers fall due before it looks at its clock again.
local function spin(s, seconds)
	local deadline = s.now() + seconds
	repeat until s.now() >= deadline
end

t.item(16, "add_task gives an id; the callback gets now, id and param", function (s)
	local calls = {}
	local param = {}
	local id = s.timer.add_task(0.01, function (...)
		table.insert(calls, table.pack(...))
	end, param)
	s.ok(id ~= nil, "add_task must return an id")
	s.wait(function () return #calls > 0 end, 5, "the timer")
	local call = calls[1]
	s.near(call[1], os.time(), 2, "now is the wall clock")
	s.eq(math.type(call[1]), "float", "now has fractions")
	s.eq(call[2], id, "the id is handed to the callback")
	s.eq(call[3], param, "the param is handed to the callback")
	s.sleep(0.05)
	s.eq(#calls, 1, "a timer that returns nothing fires once")
end)

t.item(17, "a returned number repeats the timer after that delay, other values do not", function (s)
	local calls = 0
	local last
	s.timer.add_task(0, function ()
		calls = calls + 1
		if calls > 1 then
			s.ok(s.now() - last >= 0.019, "not before the delay that was returned")
		end
		last = s.now()
		if calls < 4 then return 0.02 end
	end)
	local others = { n = 0 }
	for _, value in ipairs { true, false, "0.01", {} } do
		s.timer.add_task(0, function ()
			others.n = others.n + 1
			return value
		end)
	end
	s.wait(function () return calls == 4 end, 5, "the fourth call")
	s.sleep(0.1)
	s.eq(calls, 4, "nothing returned, no repetition")
	s.eq(others.n, 4, "true, false, a string and a table do not repeat")

	-- The same through server.add_task, which Prosody's own util.timer stands on where the backend has no timers.
	local direct = 0
	s.server.add_task(0.01, function ()
		direct = direct + 1
		return direct < 3 and 0.01 or nil
	end)
	s.wait(function () return direct == 3 end, 5, "the third call through server.add_task")
	s.sleep(0.05)
	s.eq(direct, 3, "server.add_task does not repeat without a number")
end)

t.item(18, "stop before it fires, from a sibling, of oneself, of an unknown id", function (s)
	local fired = {}
	local function named(name, result)
		return function ()
			fired[name] = (fired[name] or 0) + 1
			return result
		end
	end

	local early = s.timer.add_task(0.02, named "stopped")
	s.timer.stop(early)
	s.timer.stop(early)
	s.timer.add_task(0.02, named "other")
	s.wait(function () return fired.other end, 5, "the other timer")
	s.sleep(0.05)
	s.eq(fired.stopped, nil, "a stopped timer does not fire")

	-- Both are due in the same turn; whichever comes first stops the other.
	local ids = {}
	for i = 1, 2 do
		ids[i] = s.timer.add_task(0.001, function ()
			fired.sibling = (fired.sibling or 0) + 1
			s.timer.stop(ids[3 - i])
		end)
	end
	spin(s, 0.02)
	s.wait(function () return fired.sibling end, 5, "one of two siblings")
	s.sleep(0.05)
	s.eq(fired.sibling, 1, "a timer stopped by its sibling of the same turn does not fire")

	s.timer.stop(early)
	s.timer.stop(123456.5)

	local own
	own = s.timer.add_task(0.001, function ()
		fired.own = (fired.own or 0) + 1
		s.timer.stop(own)
		return 0.005
	end)
	s.wait(function () return fired.own end, 5, "the timer that stops itself")
	s.sleep(0.05)
	s.eq(fired.own, 1, "stop() of the running timer wins over the number that it returns")

	-- A timer that was stopped while running has not poisoned anything: new ones work.
	s.timer.add_task(0.001, named "after")
	s.wait(function () return fired.after end, 2, "a timer after all that")
end, {
	stock = {
		event = {
			"stop() of the running timer closes the only event that util.timer has: no timer fires any more",
			match = "in vain for a timer after all that",
		},
		select = {
			"util.timer repeats a timer that was stopped while it ran and returned a number",
			match = "^stop%(%) of the running timer wins",
		},
		["epoll-13"] = {
			"repeats a timer that was stopped while it ran and returned a number",
			match = "^stop%(%) of the running timer wins",
		},
	},
})

local relative_reschedule = "util.timer's reschedule() puts the delay into the heap where it keeps points in time, so the timer is due at once"

t.item(19, "reschedule to earlier and to later; of the id of a timer that is over it does nothing", function (s)
	local started = s.now()
	local fired = {}
	local function timer(name, delay)
		return s.timer.add_task(delay, function () fired[name] = s.now() - started end)
	end
	local earlier = timer("earlier", 30)
	local later = timer("later", 0.05)
	s.timer.reschedule(earlier, 0.05)
	s.timer.reschedule(later, 0.4)
	s.wait(function () return fired.earlier end, 5, "the timer that was moved to earlier")
	s.ok(fired.earlier >= 0.049, "not before its new time")
	s.eq(fired.later, nil, "the timer that was moved to later has to wait")
	s.wait(function () return fired.later end, 5, "the timer that was moved to later")
	s.ok(fired.later >= 0.399, "not before its new time")

	s.timer.reschedule(later, 0.01)
	s.timer.reschedule(987654.5, 0.01)
	fired = {}
	s.sleep(0.1)
	s.eq(next(fired), nil, "rescheduling a finished timer does not revive it")
end, {
	stock = {
		event = { relative_reschedule, match = "moved to later has to wait" },
		select = { relative_reschedule, match = "moved to later has to wait" },
	},
})

t.item(20, "delays of 0 and less are not synchronous, and zero timers do not starve I/O", function (s)
	for _, delay in ipairs { 0, -1 } do
		local fired
		s.timer.add_task(delay, function () fired = true end)
		s.ok(not fired, ("a delay of %d does not call back synchronously"):format(delay))
		s.wait(function () return fired end, 5, "a timer without delay")
	end

	local conn, peer = s.pair({ onincoming = function (conn, data) conn:write(data) end })
	local turns, stop = 0, false
	local function again()
		turns = turns + 1
		if not stop then s.timer.add_task(0, again) end
	end
	s.timer.add_task(0, again)
	for i = 1, 5 do
		s.ok(peer:send("ping "..i.."\n"))
		s.eq(peer:receive_until("\n"), "ping "..i.."\n", "an echo while zero timers go on and on")
	end
	s.ok(turns > 5, "the zero timers did go on")
	stop = true
	conn:close()
end, {
	stock = {
		event = { "a chain of zero timers starves all I/O", match = "an echo while zero timers" },
		select = { "a negative delay runs the callback inside add_task", match = "a delay of %-1 does not call back" },
	},
})

t.item(21, "an error in a timer is logged, the other timers still run", function (s)
	local fired = {}
	s.timer.add_task(0.01, function () fired.before = true end)
	s.timer.add_task(0.01, function () fired.bad = (fired.bad or 0) + 1 error("the timer's own fault") end)
	s.timer.add_task(0.01, function () fired.after = true end)
	spin(s, 0.02)
	s.wait(function () return fired.before and fired.after end, 5, "the timers beside the bad one")
	s.wait(function () return s.logged("the timer's own fault", "error") end, 5, "the error in the log")
	s.sleep(0.05)
	s.eq(fired.bad, 1, "a timer that raised is gone")
end, { logs_errors = true })

t.item(22, "to_absolute_time turns the monotonic clock into the wall clock", function (s)
	local to_absolute_time = s.ok(s.timer.to_absolute_time, "timer.to_absolute_time")
	s.near(to_absolute_time(s.now()), os.time(), 1.5)
	s.near(to_absolute_time(s.now() + 100), os.time() + 100, 1.5)
end, {
	stock = {
		event = { "not offered: util.timer has no to_absolute_time on top of this backend", match = "^timer.to_absolute_time" },
		select = { "not offered: util.timer has no to_absolute_time on top of this backend", match = "^timer.to_absolute_time" },
	},
})

t.item(23, "100 000 timers fire in the order in which they are due", function (s)
	local count = 100000
	-- The backend reads its clock somewhere between these two, so each timer is due within a small window; two
	-- timers are out of order only when their windows do not overlap. The millisecond is for util.timer, which
	-- computes with the wall clock, whose pace may be adjusted meanwhile.
	local not_before, not_after = {}, {}
	local fired, out_of_order, latest = 0, 0, 0
	local seed = 42
	for i = 1, count do
		-- A fixed sequence of delays, so that every run and subject gets the same.
		seed = (seed * 1103515245 + 12345) % 2147483648
		local delay = 0.5 + (seed % 1000) / 1000
		not_before[i] = s.now() + delay
		s.timer.add_task(delay, function ()
			fired = fired + 1
			if not_after[i] < latest - 0.001 then out_of_order = out_of_order + 1 end
			latest = math.max(latest, not_before[i])
			s.ok(s.now() >= not_before[i] - 0.001, "a timer fired too early")
		end)
		not_after[i] = s.now() + delay
	end
	s.wait(function () return fired == count end, 30, "all timers")
	s.eq(out_of_order, 0, "timers out of order")
end, { limit = 40 })

t.item(24, "the admin shell's debug:timers() does not raise", function (s)
	-- Prosody's own function, taken out of the module: it reads the upvalues of add_task.
	local file = assert(io.open(t.source_dir.."/modules/mod_admin_shell.lua"))
	local source = file:read("*a"):match("\nfunction def_env%.debug:timers%(%).-\nend\n")
	file:close()
	s.ok(source, "debug:timers in mod_admin_shell")
	_G.prosody = {}
	require "util.startup".set_function_metatable()
	_G.prosody = nil
	local printed = {}
	local env = setmetatable({
		def_env = { debug = { session = { print = function (...) table.insert(printed, table.pack(...)) end } } },
		server = s.server, time = require "util.time",
	}, { __index = _G })
	assert(load(source, "debug:timers", "t", env))()
	s.timer.add_task(3600, function () end)
	s.timer.add_task(3600, function () end, "with a param")
	s.eq(env.def_env.debug:timers(), true, "debug:timers()")
	s.ok(#printed > 0, "it prints at least a header")
end)
