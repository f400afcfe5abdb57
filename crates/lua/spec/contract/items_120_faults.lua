-- What a fault, or a loop that is late, must not do: items 120 to 121.

local t = require "harness"

-- Keeps the loop busy.
local function spin(s, seconds)
	local deadline = s.now() + seconds
	repeat until s.now() >= deadline
end

t.item(120, "a loop that was busy for longer than read_timeout hears those who have spoken, and times out none of them", function (s)
	s.settings { read_timeout = 0.3 }
	local rec, given_up
	rec = s.recorder {
		onincoming = function () spin(s, 0.002) end;
		onreadtimeout = function (conn)
			-- Whoever has been heard may be silent for long enough since
			if rec.data[conn] == "" then given_up = given_up + 1 end
			return true
		end;
	}
	given_up = 0
	local handle, port = s.listen(rec)
	local peers = {}
	for i = 1, 40 do
		peers[i] = s.peer(port)
	end
	s.wait(function () return #rec.conns == #peers end, 5, "all connections")
	for _, peer in ipairs(peers) do
		s.ok(peer:send("here"))
	end
	given_up = 0
	spin(s, 1)
	s.wait(function ()
		if given_up > 0 then return true end
		for _, conn in ipairs(rec.conns) do
			if rec.data[conn] == "" then return false end
		end
		return true
	end, 10, "everybody to be heard")
	s.eq(given_up, 0, "connections that timed out before they were heard")
	s.eq(rec.count("ondisconnect"), 0, "connections that ended")
	handle:close()
end, { stock = {
	event = { "libevent tells of timeouts that have passed before it tells of what can be read",
		match = "connections that timed out before they were heard" },
} })

t.item(121, "loop(true): what callbacks have written has left when it returns", function (s)
	-- To call it would be the end of the test
	s.ok(s.name ~= "event", "loop(true) that returns")
	local rec = s.recorder { onincoming = function (conn, data) conn:write(data:upper()) end }
	local handle, port = s.listen(rec)
	local peer = s.peer(port)
	local sock = peer.sock
	sock:settimeout(0)
	assert(sock:send("question\n"))
	-- An event of its own ends the wait of each of them
	for _ = 1, 100 do
		if rec.count("onincoming") > 0 then break end
		s.timer.add_task(0.05, function () end)
		s.server.loop(true)
	end
	s.eq(rec.count("onincoming"), 1, "calls of onincoming")
	-- With I/O threads it is on its way; without it is there
	sock:settimeout(s.name:match("threads") and 5 or 0.2)
	s.eq(sock:receive("*l"), "QUESTION", "what the peer has when loop(true) has returned")

	-- And by a timer
	local conn = rec.conns[1]
	local fired
	s.timer.add_task(0.05, function () fired = true conn:write("later\n") end)
	for _ = 1, 100 do
		if fired then break end
		s.server.loop(true)
	end
	s.eq(sock:receive("*l"), "later", "what a timer has written when loop(true) has returned")
	handle:close()
end, {
	raw = true,
	stock = {
		event = { "loop(true) is as loop(): there is no single turn", match = "loop%(true%) that returns" },
		["epoll-13"] = {
			"loop(true) raises an error while a timer is set",
			match = "attempt to compare number with nil",
		},
		select = {
			"sends what was written in the next call only",
			match = "^what the peer has when loop%(true%) has returned",
		},
	},
})
