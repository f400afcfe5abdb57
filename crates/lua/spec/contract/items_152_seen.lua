-- Item 152: the log names whoever holds the loop.

local t = require "harness"

local not_offered = "not offered: nobody looks whether a callback holds the loop"

-- Holds the loop for so many seconds; gives the lines where it did so
local function compute(seconds)
	local line = debug.getinfo(1, "l").currentline
	local begun = os.clock()
	while os.clock() - begun < seconds do end
	return line, line + 3
end

t.item(152, "a callback that holds the loop longer than slow_callback is named in the log: what it was, whose, and the line that it was at",
function (s)
	s.settings { slow_callback = 0.05 }
	local first, last
	local conn, peer = s.pair { onincoming = function (_, data)
		first, last = compute(tonumber(data))
	end }
	peer:send("0.15")
	s.wait(function () return first end, 5, "the callback")
	local pattern = "^The loop stood still for %d%.%d%d s: onincoming of "..tostring(conn.id)..",.-%.lua:%d+, which was at .-"
		.."items_152_seen%.lua:(%d+)"
	local logged = s.wait(function () return s.logged(pattern, "warn") end, s.is_trochee and 5 or 0.1, "the line about it")
	local line = tonumber(logged[2]:match(pattern))
	-- LuaJIT looks for hooks only where it interprets, and what it has compiled is named late
	s.ok(line >= first and (line <= last or jit), ("line %d, and not %d to %d"):format(line, first, last))
	s.ok(s.server.stats().slow_callbacks >= 1, "slow_callbacks")
end, { stock = { epoll = not_offered, event = not_offered, select = not_offered } })
