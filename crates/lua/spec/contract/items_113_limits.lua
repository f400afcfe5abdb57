-- Item 113: limits by address.

local t = require "harness"

-- A peer with an address of its own. 127.0.0.0/8 is all ours
local function peer_from(s, address, port)
	local sock = require "socket".tcp4()
	assert(sock:bind(address, 0))
	if sock:connect("127.0.0.1", port) then
		return s.wrap_peer(sock)
	end
	-- Reset before the system has told that it stands
	sock:close()
	return { closed = function () return true end, close = function () end }
end

local not_offered = "not offered: stock counts no connections by their address"

t.item(113, "limits by address: one address has its share, whoever wants more is reset, others are served, each is told once",
function (s)
	s.settings({ exempt_addresses = {}, max_connections_per_address = 3, all_listeners_multiple = 1 })
	local rec = s.recorder({ onincoming = function (conn, data) conn:write(data) end })
	local _, port = s.listen(rec)
	local peers = {}
	for n = 1, 8 do
		peers[n] = peer_from(s, "127.0.0.2", port)
	end
	local function closed()
		local count = 0
		for _, peer in ipairs(peers) do
			count = count + (peer:closed(0) and 1 or 0)
		end
		return count
	end
	s.wait(function () return closed() == 5 end, s.is_trochee and 5 or 0.5, "the end of five of eight connections")
	s.eq(rec.count("onconnect"), 3, "connections of 127.0.0.2")

	local other = peer_from(s, "127.0.0.3", port)
	s.ok(other:send("hello"))
	s.eq(other:receive_until(5), "hello", "somebody else")

	local why = "more than 3 connections at a time %(max_connections_per_address%)$"
	s.ok(s.logged("^refusing connections, the first of them from 127%.0%.0%.2: "..why, "warn"), "the warning")
	local named = 0
	for _, line in ipairs(s.log) do
		if line[1] == "info" and line[2]:find("^Stranger 127%.0%.0%.2 refused: "..why) then
			named = named + 1
		end
	end
	s.eq(named, 1, "lines with the address")
	s.eq(s.server.stats().refused_by_count, 5, "refused_by_count")

	-- Whoever leaves makes room
	for _, peer in ipairs(peers) do
		if not peer:closed(0) then
			peer:close()
			break
		end
	end
	s.wait(function () return rec.count("ondisconnect") == 1 end, 5, "the end of one")
	local again = peer_from(s, "127.0.0.2", port)
	s.ok(again:send("again"))
	s.eq(again:receive_until(5), "again", "another one of 127.0.0.2")

	-- By default those of this machine are not counted
	s.settings({ max_connections_per_address = 3 })
	local before = rec.count("onconnect")
	for n = 1, 8 do
		peers[n] = peer_from(s, "127.0.0.4", port)
	end
	s.wait(function () return rec.count("onconnect") == before + 8 end, 5, "eight connections of one address that is exempt")
end, { stock = { epoll = not_offered, event = not_offered, select = not_offered } })

t.item(114, "a bad list of networks is refused with the entry that is wrong, and the list before it is kept", function (s)
	if not s.is_trochee then
		s.fail("unknown settings are ignored")
	end
	s.settings({ exempt_addresses = { "192.0.2.0/24", "10.0.0.0/33" } })
	s.ok(s.logged('^network_settings%.exempt_addresses must be a list of networks such as { "loopback", "192%.0%.2%.0/24" }, '..
		'not one with "10%.0%.0%.0/33"; keeping { "loopback", "private" }$', "error"), "the error")
	s.settings({ exempt_addresses = { true } })
	s.ok(s.logged("exempt_addresses .* not one with true; keeping", "error"), "an entry that is no text")
	s.settings({ exempt_addresses = "loopback" })
	s.ok(s.logged("exempt_addresses .* not a string; keeping", "error"), "no list")
end, { logs_errors = true, stock = { epoll = not_offered, event = not_offered, select = not_offered } })
