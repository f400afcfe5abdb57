-- Reading: items 43 to 52 of the contract.

local t = require "harness"

-- Bytes that tell where they stand, so that a lost, doubled or swapped piece shows.
local function text(length)
	local lines = {}
	for i = 1, math.floor(length / 10) + 1 do
		lines[i] = ("%09d\n"):format(i)
	end
	return table.concat(lines):sub(1, length)
end

-- The pieces that onincoming got for `conn`: { { data, err }, … }
local function chunks(rec, conn)
	local list = {}
	for _, event in ipairs(rec.events) do
		if event[1] == "onincoming" and event[2] == conn then
			table.insert(list, { event[3], event[4] })
		end
	end
	return list
end

local function received(s, rec, conn, length, what, timeout)
	return s.wait(function () return #rec.data[conn] >= length end, timeout or 5, what or length.." bytes")
end

-- What ondisconnect says after the peer closed. Prosody 0.12's epoll goes through close(), which has no reason to give.
local function check_closed(s, list, what)
	s.eq(list.n, 1, what..": ondisconnect once")
	if s.name ~= "epoll" or list[1] ~= nil then
		s.eq(list[1], "closed", what..": the reason")
	end
end

t.item(43, "chunks ≤ numeric read_size; \"*a\" gives all there is; err is nil, \"timeout\" or \"closed\"", function (s)
	local conn, peer, rec = s.pair(nil, { read_size = 1000 })
	local data = text(4500)
	peer:send(data)
	received(s, rec, conn, #data)
	s.eq(rec.data[conn], data)
	for _, chunk in ipairs(chunks(rec, conn)) do
		s.ok(#chunk[1] <= 1000, "a chunk larger than read_size")
		if #chunk[1] == 1000 then
			s.eq(chunk[2], nil, "err of a full chunk")
		else
			s.eq(chunk[2], "timeout", "err of a short chunk")
		end
	end

	conn, peer, rec = s.pair(nil, { read_size = "*a" })
	-- Paused, so that the socket has everything before it is read; a moment later the I/O threads know, too.
	conn:pause()
	s.sleep(0.05)
	data = text(20000)
	peer:send(data)
	conn:resume()
	received(s, rec, conn, #data)
	local list = chunks(rec, conn)
	s.eq(list[1][1], data, "\"*a\" delivers everything available in one piece")
	s.eq(list[1][2], "timeout", "err of a piece read with \"*a\"")

	-- At the end of the stream there is nothing left to wait for.
	data = text(5000)
	conn:pause()
	peer:send(data)
	peer:shutdown_write()
	conn:resume()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	list = chunks(rec, conn)
	s.eq(list[2][1], data, "\"*a\" with FIN")
	-- Whether the end is noticed in the same read is a matter of how the backend reads and what its poller tells.
	local err = list[2][2]
	s.ok(err == nil or err == "timeout" or err == "closed", "err of the last piece read with \"*a\"")
	s.eq(#list, 2, "pieces in all")
end)

t.item(44, "onincoming never gets nil, nor runs after ondisconnect or setlistener to another table", function (s)
	local recorders = {}
	local function pair(overrides, config)
		local conn, peer, rec = s.pair(overrides, config)
		table.insert(recorders, rec)
		return conn, peer, rec
	end

	-- No data at all.
	local conn, peer, rec = pair()
	peer:close()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect after FIN")
	s.eq(rec.count("onincoming"), 0, "onincoming without data")

	-- Another listener takes over while more data waits.
	local other = s.recorder()
	table.insert(recorders, other)
	conn, peer, rec = pair({ onincoming = function (c) c:setlistener(other) end }, { read_size = 10 })
	peer:send(text(50))
	received(s, other, conn, 40, "the new listener's data")
	s.eq(rec.data[conn]..other.data[conn], text(50))
	s.eq(rec.count("onincoming"), 1, "onincoming of the replaced listener")

	-- Closed while more data waits.
	conn, peer, rec = pair({ onincoming = function (c) c:close() end }, { read_size = 10 })
	peer:send(text(50))
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect after close()")
	s.sleep(0.05)
	s.eq(rec.count("onincoming"), 1, "onincoming after close()")

	-- Reset with data on the way.
	conn, peer, rec = pair(nil, { read_size = 10 })
	peer:send(text(50))
	peer:reset()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect after RST")
	s.sleep(0.05)

	local function check()
		local checked = 0
		for _, recorder in ipairs(recorders) do
			local ended = {}
			for _, event in ipairs(recorder.events) do
				if event[1] == "ondisconnect" then
					ended[event[2]] = true
				elseif event[1] == "onincoming" then
					checked = checked + 1
					s.eq(type(event[3]), "string", "onincoming's data")
					s.ok(not ended[event[2]], "onincoming came before ondisconnect")
				end
			end
		end
		s.ok(checked >= 3, "there was data to check")
	end
	check()

	-- Paused after the first of several pieces, then closed, then resumed.
	conn, peer, rec = pair({ onincoming = function (c) c:pause() end }, { read_size = 10 })
	peer:send(text(50))
	received(s, rec, conn, 10)
	conn:close()
	conn:resume()
	s.sleep(0.05)
	s.eq(rec.count("onincoming"), 1, "onincoming after close() and resume()")
	s.eq(rec.disconnects[conn].n, 1)

	check()
end, { stock = {
	select = { "resume() of a connection that was closed while paused raises", match = "table index is nil" },
} })

t.item(45, "pause() inside onincoming stops delivery, resume() delivers what is buffered, nothing is lost", function (s)
	local pausing = true
	local conn, peer, rec = s.pair({
		onincoming = function (c)
			if pausing then
				c:pause()
			end
		end,
	}, { read_size = 1000 })
	local data = text(6500)
	peer:send(data)
	received(s, rec, conn, 1000)
	s.sleep(0.1)
	s.eq(#rec.data[conn], 1000, "pause() stops further delivery")
	-- The peer sends nothing more from here on: what resume() brings is what waits on this side.
	for n = 2, 4 do
		conn:resume()
		received(s, rec, conn, n * 1000, "the buffered rest after resume()", 1)
		s.sleep(0.02)
		s.eq(#rec.data[conn], n * 1000, "one piece per resume()")
	end
	pausing = false
	conn:resume()
	received(s, rec, conn, #data, "the buffered rest after resume()", 1)
	s.eq(rec.data[conn], data)
end, { stock = {
	epoll = { "resume() does not look at LuaSocket's buffer: data stays undelivered until more comes",
		match = "buffered rest after resume" },
	event = { "resume() does not look at LuaSocket's buffer: data stays undelivered until more comes",
		match = "buffered rest after resume" },
} })

t.item(46, "pause() in onconnect holds the first bytes", function (s)
	local function check(rec, conn, what)
		s.sleep(0.1)
		s.eq(rec.data[conn], "", what..": held while paused")
		conn:resume()
		received(s, rec, conn, 5, what..": after resume()")
		s.eq(rec.data[conn], "first")
		s.eq(rec.events[1][1], "onconnect", what..": the first callback")
	end
	local rec = s.recorder({ onconnect = function (conn) conn:pause() end })

	-- Accepted; the bytes are there before the loop gets to accept().
	local _, port = s.listen(rec)
	local sock = require "socket".tcp4()
	sock:settimeout(5)
	s.ok(sock:connect("127.0.0.1", port))
	s.ok(sock:send("first"))
	check(rec, s.wait(function () return rec.conns[1] end, 5, "onconnect"), "accepted")

	-- Outgoing; the bytes are there before the loop notices that the connection is established.
	rec = s.recorder({ onconnect = function (conn) conn:pause() end })
	local peer_server = s.peer_server()
	local conn = s.server.addclient("127.0.0.1", peer_server.port, rec, 1000)
	peer_server.sock:settimeout(5)
	s.ok(peer_server.sock:accept():send("first"))
	s.wait(function () return rec.conns[1] end, 5, "outgoing onconnect")
	check(rec, conn, "outgoing")
end, { stock = {
	epoll = { "reads right after accept() even if onconnect paused", match = "accepted: held while paused" },
	event = { "the connect event reads, and delivers, before onconnect", match = "outgoing: " },
	select = { "a pending connection is read before onconnect and delivered after it", match = "outgoing: held while paused" },
} })

t.item(47, "paused, peer sends and closes, resume: all data, then ondisconnect", function (s)
	for _, read_size in ipairs { "*a", 1000 } do
		local what = "read_size "..read_size
		local conn, peer, rec = s.pair(nil, { read_size = read_size })
		conn:pause()
		local data = text(20300)
		peer:send(data)
		peer:close()
		s.sleep(0.15)
		s.eq(rec.data[conn], "", what..": held while paused")
		s.eq(rec.disconnects[conn], nil, what..": no end reported before the data")
		conn:resume()
		s.wait(function () return rec.disconnects[conn] end, 5, what..": ondisconnect")
		s.eq(rec.data[conn], data, what..": all data")
		s.sleep(0.05)
		s.eq(rec.events[#rec.events][1], "ondisconnect", what..": the last callback")
		check_closed(s, rec.disconnects[conn], what)
	end
end, { stock = {
	epoll = { "delivers the data and reports the end although paused", match = "held while paused" },
	event = { "loses the last partial chunk that comes with FIN", match = "read_size 1000: all data" },
	select = { "loses the last partial chunk that comes with FIN", match = "read_size 1000: all data" },
} })

t.item(48, "final bytes + FIN: delivered, then ondisconnect \"closed\" once", function (s)
	for _, read_size in ipairs { "*a", 300, 1000 } do
		local what = "read_size "..read_size
		local conn, peer, rec = s.pair(nil, { read_size = read_size })
		local data = text(300)
		peer:send(data)
		peer:shutdown_write()
		s.wait(function () return rec.disconnects[conn] end, 5, what..": ondisconnect")
		s.eq(rec.data[conn], data, what..": the last bytes")
		s.ok(peer:closed(), what..": the peer sees the end as well")
		s.sleep(0.05)
		check_closed(s, rec.disconnects[conn], what)
		s.eq(rec.events[#rec.events][1], "ondisconnect", what..": the last callback")
		local list = chunks(rec, conn)
		local err = list[#list][2]
		if err ~= nil then
			s.ok(err == "timeout" or err == "closed", what..": err of the last chunk")
		end
	end
end, { stock = {
	event = { "loses the last partial chunk that comes with FIN", match = "read_size 1000: the last bytes" },
	select = { "loses the last partial chunk that comes with FIN", match = "read_size 1000: the last bytes" },
} })

t.item(49, "a reply written while handling data with FIN reaches the half-closed peer", function (s)
	for _, reply in ipairs { "pong", text(1000000) } do
		local conn, peer, rec = s.pair({
			onincoming = function (conn)
				conn:write(reply)
			end,
		}, { read_size = 1000 })
		peer:send("ping")
		peer:shutdown_write()
		s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
		local got = peer:receive_until(#reply, 5)
		s.eq(rec.data[conn], "ping", "the data that came with FIN")
		s.eq(got, reply, "the reply")
		s.ok(peer:closed(), "FIN after the reply")
		s.sleep(0.02)
		check_closed(s, rec.disconnects[conn], #reply.." bytes")
	end
end, { stock = {
	epoll = { "drops the reply: the repeated read event ends the connection before the write event", match = "the reply" },
	event = { "loses the last partial chunk that comes with FIN", match = "the data that came with FIN" },
	select = { "loses the last partial chunk that comes with FIN", match = "the data that came with FIN" },
} })

t.item(50, "setlimit: rate within 20 %, float argument, 0 removes it, pause() wins over it", function (s)
	local bytes_per_second = 50000.5
	local conn, peer, rec = s.pair(nil, { read_size = 2000 })
	s.ok(conn.setlimit, "setlimit exists")
	conn:setlimit(bytes_per_second)
	local data = text(50000)
	peer:send(data)
	received(s, rec, conn, #data, "the limited data", 10)
	s.eq(rec.data[conn], data)
	local first, last
	for _, event in ipairs(rec.events) do
		if event[1] == "onincoming" then
			first = first or event
			last = event
		end
	end
	-- The first chunk is free, the time for each chunk passes after it.
	local rate = (#data - #last[3]) / (last.at - first.at)
	s.note(("%.0f bytes per second for a limit of %.0f"):format(rate, bytes_per_second))
	s.near(rate, bytes_per_second, bytes_per_second * 0.2, "the rate")

	conn:setlimit(0)
	local start = s.now()
	peer:send(data:rep(10))
	received(s, rec, conn, #data * 11, "the data after setlimit(0)", 3)
	s.ok(s.now() - start < 3, "setlimit(0) removes the limit")

	local paused_conn, paused_peer, paused_rec = s.pair({ onincoming = function (c) c:pause() end }, { read_size = 2000 })
	paused_conn:setlimit(bytes_per_second)
	paused_peer:send(text(6000))
	received(s, paused_rec, paused_conn, 2000)
	s.sleep(0.3) -- the limit alone would hold the connection for 0.04 s
	s.eq(#paused_rec.data[paused_conn], 2000, "pause() wins over setlimit()")
	paused_conn:resume()
	received(s, paused_rec, paused_conn, 4000, "the next chunk after resume()")
end, { stock = {
	epoll = { "the timer that ends the pause of setlimit() also ends pause()", match = "pause%(%) wins over setlimit" },
	event = { "not offered: setlimit", match = "setlimit exists" },
	select = { "not offered: setlimit", match = "setlimit exists" },
} })

t.item(51, "set_mode mid-stream", function (s)
	local conn, peer, rec = s.pair(nil, { read_size = 100 })
	peer:send(text(250))
	received(s, rec, conn, 250)
	for _, chunk in ipairs(chunks(rec, conn)) do
		s.ok(#chunk[1] <= 100, "the listener's read_size")
	end

	local known = #chunks(rec, conn)
	conn:set_mode("*a")
	conn:pause()
	s.sleep(0.05)
	peer:send(text(5000))
	conn:resume()
	received(s, rec, conn, 5250)
	s.eq(#chunks(rec, conn), known + 1, "chunks after set_mode(\"*a\")")

	known = known + 1
	conn:set_mode(10)
	s.sleep(0.05)
	peer:send(text(95))
	received(s, rec, conn, 5345)
	for i = known + 1, #chunks(rec, conn) do
		s.ok(#chunks(rec, conn)[i][1] <= 10, "chunks after set_mode(10)")
	end

	-- Inside onincoming, while the rest is already on this side.
	known = #chunks(rec, conn)
	rec.overrides.onincoming = function (c) c:set_mode("*a") end
	peer:send(text(50))
	received(s, rec, conn, 5395)
	s.eq(#chunks(rec, conn), known + 2, "chunks when onincoming calls set_mode(\"*a\")")
	s.eq(#chunks(rec, conn)[known + 1][1], 10, "the chunk before set_mode(\"*a\")")
	s.eq(rec.data[conn], text(250)..text(5000)..text(95)..text(50))
end)

t.item(52, "read_timeout: truthy keeps, falsy closes with \"read timeout\"; keepalive; off while paused", function (s)
	s.settings({ read_timeout = 0.3 })

	-- As mod_c2s does: a space to see whether the client is still there.
	local asked = {}
	local conn, peer, rec = s.pair({
		onreadtimeout = function (c)
			table.insert(asked, s.now())
			if #asked <= 2 then
				c:write(" ")
				return true
			end
		end,
	})
	local start = s.now()
	s.wait(function () return rec.disconnects[conn] end, 5, "the end after three read timeouts")
	s.eq(#asked, 3, "calls of onreadtimeout")
	s.ok(asked[1] - start > 0.2, "no onreadtimeout before its time")
	s.ok(asked[2] - asked[1] > 0.2, "a full read_timeout after onreadtimeout returned true")
	s.eq(peer:receive_until(2), "  ", "the keepalives")
	s.ok(peer:closed(), "the peer sees the end")
	s.sleep(0.05)
	s.eq(rec.disconnects[conn][1], s.name == "event" and "timeout during receiving" or "read timeout", "the reason")
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")

	-- Data starts the time anew.
	conn, peer, rec = s.pair()
	for _ = 1, 5 do
		s.sleep(0.12)
		peer:send("x")
	end
	s.eq(rec.count("onreadtimeout", conn), 0, "onreadtimeout in spite of data")
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect after the data ended")

	-- Off while paused, on again afterwards.
	conn, peer, rec = s.pair()
	conn:pause()
	s.sleep(0.8)
	s.eq(rec.count("onreadtimeout", conn), 0, "onreadtimeout while paused")
	conn:resume()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect after resume()")
	s.eq(rec.count("onreadtimeout", conn), 1, "onreadtimeout after resume()")

	conn, peer, rec = s.pair({ onreadtimeout = function () return "still here" end })
	s.wait(function () return rec.count("onreadtimeout", conn) >= 2 or rec.disconnects[conn] end, 5, "onreadtimeout twice")
	s.eq(rec.disconnects[conn], nil, "a truthy value other than true keeps the connection")
	peer:send("x")
	received(s, rec, conn, 1, "data afterwards")
end, { stock = {
	event = { "keeps the connection only for exactly true", match = "a truthy value other than true" },
	select = { "a connection that never sent anything has no read timeout", match = "the end after three read timeouts" },
} })
