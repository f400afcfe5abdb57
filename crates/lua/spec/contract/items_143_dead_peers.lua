-- Item 143: how soon TCP gives up a peer that does not answer.

local t = require "harness"

-- What the system has for a connection
local function options(conn)
	local sock = conn:socket()
	local found = {}
	for _, name in ipairs { "keepalive", "tcp-keepidle", "tcp-keepintvl", "tcp-keepcnt", "tcp-user-timeout" } do
		-- LuaSocket raises for a name that it does not know, LuaSec has no getoption
		local known, value = pcall(function () return (sock:getoption(name)) end)
		table.insert(found, ("%s=%s"):format(name, known and tostring(value)))
	end
	return table.concat(found, " ")
end

t.item(143, "dead peers: tcp_keepalive_interval, _count, tcp_user_timeout, by port as well; setoption; tcp_info()", function (s)
	local listening = s.peer_server()
	local function settings(wanted)
		s.settings(wanted)
		if s.is_trochee then s.server.stats() end
	end
	local rec = s.recorder()
	local _, port = s.listen(rec)
	local _, other = s.listen(rec)
	local peers = {}
	local function accepted(at)
		local before = #rec.conns
		table.insert(peers, s.peer(at))
		s.wait(function () return rec.conns[before + 1] end, 5, "the connection")
		return rec.conns[before + 1]
	end
	local before = options(accepted(port))

	local four = { tcp_keepalive = 61, tcp_keepalive_interval = 7, tcp_keepalive_count = 3, tcp_user_timeout = 90 }
	local as_set = "keepalive=true tcp-keepidle=61 tcp-keepintvl=7 tcp-keepcnt=3 tcp-user-timeout=90"
	settings(four)
	s.eq(options(accepted(port)), as_set, "an accepted connection")
	local outgoing = s.recorder()
	s.ok(s.server.addclient("127.0.0.1", listening.port, outgoing, "*a"))
	s.wait(function () return outgoing.conns[1] end, 5, "the outgoing connection")
	s.eq(options(outgoing.conns[1]), as_set, "an outgoing connection")

	settings { port_options = { [other] = four } }
	s.eq(options(accepted(port)), before, "what is taken out of the settings")
	local conn = accepted(other)
	s.eq(options(conn), as_set, "a port with options of its own")
	s.ok(conn:setoption("tcp-user-timeout", 120), "setoption")
	s.eq(options(conn), (as_set:gsub("90$", "120")), "after setoption")

	-- As long as the peer does not read, what it has no room for waits
	conn:write(("x"):rep(10000000))
	local info = s.wait(function ()
		local info = conn:tcp_info()
		return info.unacknowledged > 0 and info.unacknowledged_for > 0 and info
	end, 5, "bytes that wait for their acknowledgement")
	s.eq(info.attempts, 0, "attempts")
	s.ok(info.round_trip < 5 and info.since_acknowledged < 60, "times in seconds")
	conn:destroy()
	s.eq(conn:tcp_info(), nil, "after the end")

	settings {
		tcp_keepalive_interval = 40000, tcp_keepalive_count = 200, tcp_user_timeout = "long", port_options = { [other] = { nagle = true } },
	}
	for _, name in ipairs { "tcp_keepalive_interval", "tcp_keepalive_count", "tcp_user_timeout", "port_options" } do
		s.ok(s.logged("network_settings."..name.." must be ", "error"), "the message about "..name)
	end
	s.eq(options(accepted(other)), as_set, "what was set before is in force")
	settings {}
end, {
	logs_errors = true,
	stock = {
		epoll = { "not offered: neither the settings nor getoption", match = "^an accepted connection" },
		event = { "not offered: neither the settings nor getoption", match = "^an accepted connection" },
		select = { "not offered: neither the settings nor getoption", match = "^an accepted connection" },
	},
})
