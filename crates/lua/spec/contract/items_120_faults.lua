-- What a fault, or a loop that is late, must not do: items 120 to 121.

local t = require "harness"

-- Keeps the loop busy.
local function spin(s, seconds)
	local deadline = s.now() + seconds
	repeat until s.now() >= deadline
end

t.item(120, "a loop that was busy for longer than read_timeout hears those who have spoken, and times out none of them", function (s)
	s.settings { read_timeout = 0.3 }
	local silent = 0
	local rec = s.recorder {
		onincoming = function () spin(s, 0.002) end;
		onreadtimeout = function () silent = silent + 1 return true end;
	}
	local handle, port = s.listen(rec)
	local peers = {}
	for i = 1, 40 do
		peers[i] = s.peer(port)
	end
	s.wait(function () return #rec.conns == #peers end, 5, "all connections")
	for _, peer in ipairs(peers) do
		s.ok(peer:send("here"))
	end
	silent = 0
	spin(s, 1)
	local unheard
	s.wait(function ()
		unheard = 0
		for _, conn in ipairs(rec.conns) do
			if rec.data[conn] == "" then unheard = unheard + 1 end
		end
		return unheard == 0 or silent > 0
	end, 5, "everybody to be heard")
	s.eq(unheard, 0, "connections that timed out before they were heard, or with them")
	s.eq(rec.count("ondisconnect"), 0, "connections that ended")
	handle:close()
end)
