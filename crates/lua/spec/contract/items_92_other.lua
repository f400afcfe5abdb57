-- The other functions of the module: items 92 to 97 of the contract.

local t = require "harness"

local MiB = 1024 * 1024

-- Two LuaSocket objects, connected to each other.
local function socket_pair()
	local socket = require "socket"
	local listening = assert(socket.bind("127.0.0.1", 0))
	local _, port = listening:getsockname()
	local one = assert(socket.connect("127.0.0.1", port))
	local two = assert(listening:accept())
	listening:close()
	one:settimeout(0)
	two:settimeout(0)
	return one, two
end

t.item(92, "watchfd: number, object with getfd, LuaSocket object, lunbound; flags; close() unregisters only", function (s)
	-- Every form in which a descriptor may come.
	local forms = {
		{ "an integer", function (sock) return math.tointeger(sock:getfd()) end },
		{ "a float, as LuaSocket's getfd() gives it", function (sock) return sock:getfd() + 0.0 end },
		{ "a LuaSocket object", function (sock) return sock end },
		{ "a table with getfd", function (sock) return { getfd = function () return sock:getfd() end } end },
	}
	for _, form in ipairs(forms) do
		local what, make = table.unpack(form)
		local near, far = socket_pair()
		local calls, got = {}, ""
		local enough = 3
		local handle = s.server.watchfd(make(near), function (...)
			table.insert(calls, table.pack(...))
			-- Level-triggered: what was not read is reported again.
			if #calls >= enough then
				got = got..select(3, near:receive("*a"))
			end
		end)
		s.ok(handle, what..": a handle")
		s.sleep(0.03)
		s.eq(#calls, 0, what..": calls before there is data")
		far:send("data")
		s.wait(function () return got == "data" end, 5, what..": the data")
		for _, call in ipairs(calls) do
			s.eq(call[1], handle, what..": the callback's argument")
		end
		s.sleep(0.03)
		s.eq(#calls, 3, what..": calls in all")

		-- Flags.
		handle:setflags(false)
		far:send("more")
		s.sleep(0.03)
		s.eq(#calls, 3, what..": calls after setflags(false)")
		handle:setflags(true)
		s.wait(function () return got == "datamore" end, 5, what..": the data after setflags(true)")

		s.ok(handle.close, what..": close() exists")
		handle:close()
		local known = #calls
		far:send("!")
		s.sleep(0.03)
		s.eq(#calls, known, what..": calls after close()")
		handle:close()
		-- The descriptor is still open, and may be watched again.
		s.eq(select(3, near:receive("*a")), "!", what..": the socket still works")
		local again
		handle = s.server.watchfd(make(near), function (h)
			near:receive("*a")
			again = h
		end)
		far:send("?")
		s.wait(function () return again end, 5, what..": the second watch")
		s.eq(again, handle)
		handle:close()
		near:close()
		far:close()
	end

	-- Both directions, closed from within the callback.
	local near, far = socket_pair()
	local writable, readable = 0, 0
	local handle
	handle = s.server.watchfd(near:getfd(), function (h)
		s.eq(h, handle, "onreadable's argument")
		readable = readable + 1
		h:close()
	end, function (h)
		s.eq(h, handle, "onwritable's argument")
		writable = writable + 1
		if writable == 3 then
			h:setflags(true, false)
		end
	end)
	s.wait(function () return writable == 3 end, 5, "onwritable")
	s.sleep(0.03)
	s.eq(writable, 3, "onwritable after setflags(true, false)")
	s.eq(readable, 0, "onreadable without data")
	far:send("data")
	s.wait(function () return readable > 0 end, 5, "onreadable")
	s.sleep(0.03)
	s.eq(readable, 1, "onreadable after close() in it")
	s.eq(select(3, near:receive("*a")), "data", "the socket still works")

	-- Write only.
	writable = 0
	handle = s.server.watchfd(near, nil, function (h)
		writable = writable + 1
		h:close()
	end)
	s.wait(function () return writable > 0 end, 5, "onwritable alone")
	s.sleep(0.03)
	s.eq(writable, 1, "onwritable after close() in it")

	-- libunbound works in a thread of its own and tells by a descriptor when there are results. A local zone, so that
	-- nothing has to go out.
	local zone = s.tmpdir().."/hosts"
	local file = assert(io.open(zone, "w"))
	file:write("192.0.2.7 contract.test\n")
	file:close()
	local unbound = require "lunbound".new({ async = true, hoststxt = zone })
	local answer
	handle = s.server.watchfd(unbound, function () unbound:process() end)
	s.ok(unbound:resolve_async(function (a, err) answer = { a, err } end, "contract.test", 1, 1), "resolve_async")
	s.wait(function () return answer end, 10, "libunbound's answer")
	s.ok(answer[1], "the answer")
	s.eq(answer[1][1], "\192\0\2\7", "the address")
	handle:close()
end, { stock = {
	event = { "not offered: close() of a watch", match = "close%(%) exists" },
	select = { "setflags() mixes up its two lists", match = "calls after setflags%(false%)" },
} })

t.item(93, "addevent: -1 stops, a mode re-arms; (fd, mode, callback)", function (s)
	s.ok(s.server.addevent, "addevent exists")
	local event = s.server.event
	s.eq(event.EV_LEAVE or -1, -1, "EV_LEAVE")
	local near, far = socket_pair()
	local calls, args = 0, nil
	local handle = s.server.addevent(math.tointeger(near:getfd()), event.EV_READ, function (...)
		calls = calls + 1
		args = table.pack(...)
		if calls == 3 then
			return -1
		end
		return event.EV_READ
	end)
	s.ok(handle, "a handle")
	s.sleep(0.03)
	s.eq(calls, 0, "calls before there is data")
	far:send("data")
	s.wait(function () return calls == 3 end, 5, "three calls")
	s.sleep(0.03)
	s.eq(calls, 3, "calls after -1")
	if event.EV_READ == "r" then -- libevent's own binding, and trochee in its place, hand over what happened
		s.eq(args[1], handle, "the callback's argument")
		handle:close()
	end
	s.eq(near:receive(4), "data", "the descriptor is still open")

	-- Writable, then both: the callback answers with another mode than it began with only by being added anew.
	local near2, far2 = socket_pair()
	local writable = 0
	s.ok(s.server.addevent(math.tointeger(near2:getfd()), event.EV_WRITE, function ()
		writable = writable + 1
		return writable < 3 and event.EV_WRITE or -1
	end), "a handle")
	s.wait(function () return writable == 3 end, 5, "three calls for writing")
	s.sleep(0.03)
	s.eq(writable, 3, "calls for writing after -1")

	local near3, far3 = socket_pair()
	local both = 0
	local read_write = event.EV_READWRITE or (event.EV_READ + event.EV_WRITE)
	s.ok(s.server.addevent(math.tointeger(near3:getfd()), read_write, function ()
		both = both + 1
		return -1
	end), "a handle")
	s.wait(function () return both == 1 end, 5, "a call for reading and writing")
	far3:send("x")
	s.sleep(0.03)
	s.eq(both, 1, "calls after -1")
	far:close()
	far2:close()
end, { stock_names = true, stock = {
	select = { "not offered: addevent", match = "addevent exists" },
} })

-- SO_ERROR holds the reset until somebody reads; an end is no error
local function ended_by_reset(s, peer)
	local err
	s.wait(function ()
		err = peer.sock:getoption("error")
		return err
	end, 5, "an error of the socket")
	return err == "closed"
end

t.item(94, "link both ways as mod_proxy65 does: data, back-pressure, peer close", function (s)
	local buffer_size = 4096
	local partner = {}
	local function linked()
		local listener = {
			onconnect = function (conn) conn:pause() end,
			-- select's link() does the flow control only, the data is the listener's affair.
			onincoming = function (conn, data)
				partner[conn]:write(data)
			end,
			ondisconnect = function (conn)
				local other = partner[conn]
				partner[conn] = nil
				if other then
					other:close()
				end
			end,
		}
		local a, a_peer, a_rec = s.pair(listener)
		local b, b_peer, b_rec = s.pair(listener)
		partner[a], partner[b] = b, a
		s.server.link(a, b, buffer_size)
		s.server.link(b, a, buffer_size)
		a:resume()
		b:resume()
		return a, a_peer, a_rec, b, b_peer, b_rec
	end

	local a, a_peer, a_rec, b, b_peer, b_rec = linked()
	a_peer:send("from a")
	s.eq(b_peer:receive_until(6), "from a")
	b_peer:send("from b")
	s.eq(a_peer:receive_until(6), "from b")
	local message = ("0123456789"):rep(600)
	a_peer:send(message)
	s.eq(b_peer:receive_until(#message, 2), message, "a message larger than the buffer size")

	-- b does not read: a is not let to send without end, and b can still talk to a.
	b_peer.sock:setoption("recv-buffer-size", 65536)
	local block = ("0123456789abcdef"):rep(math.floor(MiB / 16))
	local total, sent = 48 * MiB, 0
	local function push()
		while sent < total do
			local from = sent % MiB
			local last, err, partial = a_peer.sock:send(block, from + 1)
			local count = (last or partial) - from
			sent = sent + count
			if not last then
				s.eq(err, "timeout", "a's sending")
				return count
			end
		end
		return 1
	end
	local progress = s.now()
	s.wait(function ()
		if push() > 0 then progress = s.now() end
		return s.now() - progress > 0.3 or sent == total
	end, 15, "a's sending to stall")
	s.note(("%.1f MiB were sent before it stalled"):format(sent / MiB))
	s.ok(sent < math.floor(total / 2), "back-pressure")
	b_peer:send("still there?")
	s.eq(a_peer:receive_until(12), "still there?", "the other way meanwhile")

	-- b reads: everything goes through.
	local got = 0
	s.wait(function ()
		push()
		local data, err, partial = b_peer.sock:receive(512 * 1024)
		data = data or partial
		s.ok(data ~= "" or err == "timeout", "b's receiving")
		local from = got % 16
		s.ok(data == block:sub(from + 1, from + 16):rep(math.floor(#data / 16) + 1):sub(1, #data) or
			data == (block..block):sub(got % MiB + 1, got % MiB + #data), "the bytes")
		got = got + #data
		return got == total
	end, 30, "all data")

	-- The end of one side is the end of the other, after all data.
	a_peer:send(block)
	a_peer:close()
	s.ok(b_peer:receive_until(MiB, 10) == block, "the last data")
	s.ok(b_peer:closed(), "the end of b")
	s.wait(function () return a_rec.disconnects[a] and b_rec.disconnects[b] end, 5, "ondisconnect of both")
	s.eq(a_rec.disconnects[a].n, 1)
	s.eq(b_rec.disconnects[b].n, 1)

	a, a_peer, a_rec, b, b_peer, b_rec = linked()
	b_peer:reset()
	s.ok(a_peer:closed(), "the end of a")
	s.wait(function () return a_rec.disconnects[a] and b_rec.disconnects[b] end, 5, "ondisconnect of both after RST")

	-- What was cut off on one side must not look complete on the other. util.poll tells an error from an end, LuaSocket does not.
	if s.is_trochee then
		a, a_peer, a_rec, b, b_peer, b_rec = linked()
		a_peer:send("not all of it")
		s.eq(b_peer:receive_until(13), "not all of it")
		a_peer:reset()
		s.ok(ended_by_reset(s, b_peer), "the end of b is a reset")
	end
end, { limit = 60, stock = {
	epoll = { "link() pauses and resumes, and resume() does not look at LuaSocket's buffer: the end of a message is stuck",
		match = "larger than the buffer size" },
} })

-- Each of these ends its loop, so that each runs in a process of its own, which says "finished" when it got to the end
-- of its checks.
local prelude = [==[
	local s = ...
	local function start(body)
		s.start(body, function ()
			-- The end of the body is the end of the process only when a check in it failed.
			if s.failure() then
				io.stderr:write(s.failure(), "\n")
				os.exit(70)
			end
		end)
	end
	local function finished()
		io.stdout:write("finished\n")
		io.stdout:flush()
		os.exit(0)
	end
]==]
local endings = {
	{ "setquitting(true) flushes, then loop() returns \"quitting\"", [==[
		local size = 8 * 1024 * 1024
		local data = ("0123456789abcdef"):rep(math.floor(size / 16))
		local port, busy, busy_peer, idle, idle_peer, rec, _
		start(function ()
			idle, idle_peer, rec, _, port = s.pair()
			busy, busy_peer = s.pair(rec)
			busy_peer.sock:setoption("recv-buffer-size", 65536)
			busy:write(data)
			s.server.setquitting(true)
			while true do
				busy_peer:fetch()
				s.sleep(0)
			end
		end)
		local ok, result = s.loop()
		s.ok(ok, result)
		s.eq(result, "quitting", "what loop() returns")
		s.ok(busy_peer:receive_until(size, 5) == data, "the pending data")
		s.ok(busy_peer:closed(), "FIN after the pending data")
		s.ok(idle_peer:closed(), "FIN of the idle connection")
		s.eq(rec.disconnects[busy] and rec.disconnects[busy].n, 1, "ondisconnect of the busy connection")
		s.eq(rec.disconnects[idle] and rec.disconnects[idle].n, 1, "ondisconnect of the idle connection")
		local socket = require "socket"
		s.ok(not socket.connect("127.0.0.1", port), "the listening socket is closed")
		finished()
	]==] },
	{ "the last connection's end is the loop's", [==[
		local began, peer
		start(function ()
			local conn
			conn, peer = s.pair()
			conn:write("bye")
			began = s.now()
			s.server.setquitting(true)
		end)
		s.ok(s.loop())
		s.ok(s.now() - began < 0.8, "loop() ends at once")
		s.eq(peer:receive_until(3, 1), "bye")
		finished()
	]==] },
	{ "shutdown_deadline destroys what is stuck", [==[
		s.settings({ shutdown_deadline = 0.5 })
		local began, peer, conn, rec
		start(function ()
			conn, peer, rec = s.pair()
			peer.sock:setoption("recv-buffer-size", 65536)
			conn:write(("x"):rep(16 * 1024 * 1024))
			began = s.now()
			s.server.setquitting(true)
		end)
		local ok, result = s.loop()
		s.ok(ok, result)
		s.eq(result, "quitting", "what loop() returns")
		local took = s.now() - began
		s.ok(took > 0.4, "loop() waited for the deadline")
		s.ok(took < 3, "loop() did not wait for long after the deadline")
		s.ok(peer:closed(), "the stuck peer sees the end")
		s.ok(#peer:read_available() < 16 * 1024 * 1024, "it was not flushed")
		s.ok(rec.count("ondisconnect", conn) <= 1, "ondisconnect")
		finished()
	]==] },
	-- mod_bosh_spec of Prosody relies on it
	{ "setquitting(\"once\") ends loop(), which can be called again, and closes nothing", [==[
		local conn, peer, rec
		start(function ()
			conn, peer, rec = s.pair()
			s.server.setquitting("once")
		end)
		local began = s.now()
		s.ok(s.loop())
		s.ok(s.now() - began < 3, "the first loop() ends soon")
		start(function ()
			peer:send("hello")
			s.wait(function () return rec.data[conn] == "hello" end, 2, "data after \"once\"")
			s.server.setquitting("once")
		end)
		s.ok(s.loop())
		local fired
		s.server.add_task(0.01, function ()
			fired = true
			s.server.setquitting(true)
		end)
		local ok, result = s.loop()
		s.ok(ok, result)
		s.eq(result, "quitting", "what the second loop() returns")
		s.ok(fired, "the second loop() runs")
		finished()
	]==] },
	{ "setquitting(false) cancels", [==[
		local cancelled
		start(function ()
			s.server.setquitting(true)
			s.server.setquitting(false)
			s.sleep(0.3)
			-- Connections work as before.
			local conn, peer, rec = s.pair()
			peer:send("hello")
			s.wait(function () return rec.data[conn] == "hello" end, 5, "data")
			cancelled = true
			s.server.setquitting(true)
		end)
		local ok, result = s.loop()
		s.ok(ok, result)
		s.ok(cancelled, "loop() goes on")
		s.eq(result, "quitting", "what loop() returns in the end")
		finished()
	]==] },
	{ "closeall closes connections and listening sockets, the loop goes on", [==[
		start(function ()
			local conn, peer, rec, _, port = s.pair()
			local other, other_peer = s.pair(rec)
			other:write("pending")
			s.server.closeall()
			s.ok(peer:closed(), "FIN")
			s.eq(other_peer:receive_until(7), "pending", "the pending data")
			s.ok(other_peer:closed(), "FIN after the pending data")
			s.wait(function () return rec.disconnects[conn] and rec.disconnects[other] end, 5, "ondisconnect of both")
			s.eq(rec.disconnects[conn].n, 1)
			s.eq(rec.disconnects[other].n, 1)
			local socket = require "socket"
			s.ok(not socket.connect("127.0.0.1", port), "the listening socket is closed")
			s.sleep(0.05)
			local new, new_peer, new_rec = s.pair()
			new_peer:send("after")
			s.wait(function () return new_rec.data[new] == "after" end, 5, "a new connection")
			finished()
		end)
		s.fail("loop() ended: "..tostring(select(2, s.loop())))
	]==] },
}

t.item(95, "closeall, setquitting(true), (\"once\"), (false); shutdown_deadline", function (s)
	local children = {}
	for i, ending in ipairs(endings) do
		children[i] = s.child(prelude..ending[2])
	end
	local failures = {}
	local deadline = s.now() + 8
	for i, ending in ipairs(endings) do
		local status = children[i]:wait(math.max(deadline - s.now(), 0))
		if status ~= 0 or children[i]:stdout() ~= "finished\n" then
			if not status then children[i]:kill("SIGKILL") end
			table.insert(failures, ("%s: %s %s"):format(ending[1], status or "timeout", children[i]:stderr()))
		end
	end
	if failures[1] then
		s.fail(table.concat(failures, "; "))
	end
end, { stock = {
	epoll = { "setquitting(\"once\") closes everything, as setquitting(true) does, and the next loop() ends as well",
		match = "the second loop%(%) runs" },
	["epoll-13"] = { "setquitting(true) ends loop() at once: nothing is flushed; setquitting(\"once\") is as in 0.12", match = "the pending data" },
	event = { "setquitting() and closeall() close listening sockets only; quitting flushes nothing and cannot be cancelled",
		match = "the pending data.*loop%(%) goes on" },
	select = { "quitting does not flush; closeall() forgets all timers", match = "the pending data.*timeout" },
} })

-- What mod_admin_shell reads of a connection without TLS for c2s:show() and s2s:show(), with all columns.
local tls_members = {
	"info", "getpeercertificate", "getpeerchain", "getpeerverification", "getpeerfinished", "exportkeyingmaterial",
	"getsniname", "getalpn", "dohandshake",
}

local function check_plain(s, conn, what)
	s.ok(not conn:ssl(), what..": ssl()")
	local sock = conn:socket()
	s.ok(sock, what..": socket()")
	for _, member in ipairs(tls_members) do
		s.eq(sock[member], nil, ("%s: socket().%s"):format(what, member))
	end
	s.ok(conn.created, what..": created")
	s.near(conn.created, require "util.time".now(), 5, what..": created")
	s.eq(math.type(conn.created), "float", what..": created has fractions")
end

t.item(96, "what the admin shell reads of plain TCP handles (the shell itself and TLS: in the tests with a real Prosody)",
function (s)
	-- tonumber(): LuaSocket gives the number of one's own port as a string, and stock epoll hands that on.
	local conn, peer, _, listening, port = s.pair()
	local _, peer_port = peer.sock:getsockname()
	peer_port = math.tointeger(tonumber(peer_port))
	s.eq(conn:ip(), "127.0.0.1", "accepted: ip()")
	s.eq(tonumber(conn:port()), peer_port, "accepted: port()")
	s.eq(tonumber(conn:clientport()), peer_port, "accepted: clientport()")
	s.eq(tonumber(conn:serverport()), port, "accepted: serverport()")
	s.eq(conn:server(), listening, "accepted: server()")
	s.eq(conn:server():ip(), "127.0.0.1", "accepted: server():ip()")
	check_plain(s, conn, "accepted")

	local peer_server = s.peer_server()
	local rec = s.recorder()
	local outgoing = s.server.addclient("127.0.0.1", peer_server.port, rec, "*a")
	local far = peer_server:accept()
	s.wait(function () return rec.conns[1] end, 5, "onconnect")
	local _, own_port = far.sock:getpeername()
	own_port = math.tointeger(tonumber(own_port))
	s.eq(outgoing:ip(), "127.0.0.1", "outgoing: ip()")
	s.eq(tonumber(outgoing:port()), peer_server.port, "outgoing: port()")
	s.eq(tonumber(outgoing:clientport()), own_port, "outgoing: clientport()")
	s.eq(tonumber(outgoing:serverport()), peer_server.port, "outgoing: serverport()")
	s.eq(outgoing:server(), outgoing, "outgoing: server()")
	s.eq(outgoing:server():ip(), "127.0.0.1", "outgoing: server():ip()")
	check_plain(s, outgoing, "outgoing")

	-- IPv6, as the column "ipv" tells the two apart.
	local rec6 = s.recorder()
	local handle6, port6 = s.listen(rec6, nil, "::1")
	s.peer(port6, "::1")
	local conn6 = s.wait(function () return rec6.conns[1] end, 5, "onconnect over IPv6")
	s.eq(conn6:ip(), "::1", "IPv6: ip()")
	s.eq(conn6:server():ip(), "::1", "IPv6: server():ip()")
	handle6:close()

	-- After the end: a session that waits for its resumption is listed as well.
	conn:close()
	for _, method in ipairs { "ip", "port", "clientport", "serverport", "server", "ssl" } do
		conn[method](conn)
	end
	s.eq(conn:ip(), "127.0.0.1", "closed: ip()")
	s.eq(conn:server(), listening, "closed: server()")
	local sock = conn:socket()
	s.ok(not (sock and sock.info), "closed: socket()")
	s.eq(type(s.server.get_backend()), "string", "get_backend() for prosodyctl about")
end, { stock = {
	event = { "not offered: created", match = "accepted: created" },
	select = { "not offered: created", match = "accepted: created" },
} })

t.item(97, "the admin stream of prosodyctl shell over a UNIX socket, by wrapserver and wrapclient", function (s)
	local st = require "util.stanza"
	local adminstream = require "util.adminstream"
	local unix = require "socket.unix"
	local path = s.tmpdir().."/prosody.sock"

	-- The server's side, as mod_admin_socket does it.
	local sock = unix.stream()
	sock:settimeout(0)
	s.ok(sock:bind(path))
	s.ok(sock:listen())
	local sessions = {}
	local server = adminstream.server(sessions, function (session, stanza)
		session.send(st.stanza("repl-result"):text(stanza:get_text():upper()))
	end)
	local handle
	if s.server.wrapserver then
		handle = s.server.wrapserver(sock, path, 0, server.listeners)
	else
		handle = s.server.watchfd(sock:getfd(), function ()
			local client = sock:accept()
			if client then
				s.server.wrapclient(client, "unix", 0, server.listeners, "*a")
			end
		end)
	end
	s.ok(handle, "a listening handle")

	-- prosodyctl's side.
	local function connect()
		local client = adminstream.client()
		local results = {}
		client.events.add_handler("received/repl-result", function (stanza)
			table.insert(results, stanza:get_text())
			return true
		end)
		local connected, disconnected = false, 0
		client.events.add_handler("connected", function () connected = true end)
		client.events.add_handler("disconnected", function () disconnected = disconnected + 1 end)
		local connection = adminstream.connection(path, client.listeners)
		s.ok(connection.connect(), "connect")
		s.wait(function () return connected end, 5, "the stream")
		return client, connection, results, function () return disconnected end
	end
	local client, connection, results, disconnected = connect()
	s.ok(client.send(st.stanza("repl-input"):text("c2s:show()")), "send")
	s.wait(function () return results[1] end, 5, "the answer")
	s.eq(results[1], "C2S:SHOW()")
	local long = ("a long listing "):rep(8000)
	s.ok(client.send(st.stanza("repl-input"):text(long)), "send")
	s.wait(function () return results[2] end, 5, "the long answer")
	s.ok(results[2] == long:upper(), "the long answer's text")

	-- What is known of both ends.
	local accepted = next(sessions)
	s.eq(sessions[next(sessions, accepted)], nil, "sessions")
	if s.server.wrapserver then
		s.eq(accepted:ip(), path, "accepted: ip()")
		s.eq(accepted:port(), 0, "accepted: port()")
		s.eq(accepted:server(), handle, "accepted: server()")
		check_plain(s, accepted, "accepted")
		check_plain(s, client.conn, "wrapped")
		s.eq(client.conn:server(), client.conn, "wrapped: server()")
	end
	s.ok(client.conn:setlistener(client.listeners) == nil, "setlistener")

	-- The shell ends: handle and LuaSocket object are closed, in this order. A descriptor that was closed by the
	-- former and reused meanwhile must not be closed by the latter.
	client:close()
	s.wait(function () return next(sessions) == nil end, 5, "the end of the server's session")
	s.wait(function () return disconnected() > 0 end, 5, "the end of the client's session")
	local bystander, bystander_peer, bystander_rec = s.pair()
	connection.disconnect()
	collectgarbage()
	bystander_peer:send("still here")
	s.wait(function () return bystander_rec.data[bystander] == "still here" end, 5, "a connection that is not concerned")

	-- mod_admin_socket is unloaded while a shell is connected.
	client, connection, results = connect()
	s.ok(handle.close, "close() of the listening handle exists")
	handle:close()
	local another, another_peer, another_rec = s.pair()
	sock:close()
	os.remove(path)
	collectgarbage()
	another_peer:send("as well")
	s.wait(function () return another_rec.data[another] == "as well" end, 5, "a connection that took the descriptor")
	client.send(st.stanza("repl-input"):text("still connected"))
	s.wait(function () return results[1] end, 5, "the answer after the listening socket was closed")
	s.eq(results[1], "STILL CONNECTED")
	connection.disconnect()
	s.wait(function () return next(sessions) == nil end, 5, "the end of the server's session")
	s.sleep(0.02)
	s.eq(another_rec.disconnects[another], nil)
end, { stock = {
	event = { "not offered: close() of a watch, which mod_admin_socket falls back to without wrapserver",
		match = "close%(%) of the listening handle exists" },
	["event-13"] = { "not offered: created", match = "accepted: created" },
} })
