-- Outgoing connections, wrapped sockets and UDP: items 34 to 42 of the contract.

local t = require "harness"
local socket = require "socket"

local function echo(conn, data) conn:write(data) end

-- Data both ways between a connection and its peer, which the item plays itself.
local function exchange(s, conn, peer, rec)
	s.ok(conn:write("from the client"))
	s.eq(peer:receive_until(15), "from the client", "what the peer got")
	s.ok(peer:send("from the peer"))
	s.wait(function () return rec.data[conn] == "from the peer" end, 5, "what the client got")
end

t.item(34, "addclient returns before any callback; the callbacks get the same handle", function (s)
	local listening = s.peer_server()
	local rec = s.recorder()
	local conn = s.ok(s.server.addclient("127.0.0.1", listening.port, rec, "*a"))
	s.eq(#rec.events, 0, "no callback before addclient has returned")
	local peer = listening:accept()
	s.wait(function () return rec.conns[1] end, 5, "onconnect")
	s.eq(rec.conns[1], conn, "the handle given to onconnect")
	exchange(s, conn, peer, rec)
	peer:close()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect with the same handle")

	-- A connection that fails at once is no exception.
	local refused_rec = s.recorder()
	local refused = s.server.addclient("127.0.0.1", s.free_port(), refused_rec, "*a")
	s.eq(#refused_rec.events, 0, "no callback before addclient has returned")
	if refused then
		s.wait(function () return refused_rec.disconnects[refused] end, 5, "ondisconnect with the same handle")
	end
end)

t.item(35, "tls_ctx = false means none, like nil", function (s)
	local listening = s.peer_server()
	local rec = s.recorder()
	local conn = s.ok(s.server.addclient("127.0.0.1", listening.port, rec, "*a", false))
	local peer = listening:accept()
	s.wait(function () return rec.conns[1] end, 5, "onconnect")
	s.ok(not conn:ssl(), "ssl() is falsy")
	exchange(s, conn, peer, rec)
end)

t.item(36, "failing connects: the right error, and exactly one ondisconnect or none with nil, err", function (s)
	s.settings { connect_timeout = 0.3 }
	local rec = s.recorder()
	local handle, err = s.server.addclient("no-ip", 5222, rec, "*a")
	s.eq(handle, nil, "no IP literal")
	s.eq(err, "invalid-ip")
	handle, err = s.server.addclient("127.0.0.1", 5222, rec, "*a", nil, "sctp")
	s.eq(handle, nil, "no such constructor")
	s.eq(err, "invalid socket type")

	-- Either addclient says it, or ondisconnect does, once, and never both.
	local function fails(what, expected, ...)
		rec = s.recorder()
		handle, err = s.server.addclient(...)
		if handle then
			s.wait(function () return rec.disconnects[handle] end, 5, "ondisconnect after "..what)
			s.eq(rec.disconnects[handle].n, 1, "ondisconnect calls after "..what)
			err = rec.disconnects[handle][1]
		else
			s.sleep(0.05)
			s.eq(#rec.events, 0, "callbacks after nil, err for "..what)
		end
		s.eq(rec.count("onconnect"), 0, "onconnect after "..what)
		s.ok(tostring(err):lower():match(expected), ("the error after %s: %s"):format(what, err))
		s.sleep(0.05)
		s.ok(rec.count("ondisconnect") <= 1, "a second ondisconnect after "..what)
	end
	local function rec_now() return setmetatable({}, { __index = function (_, k) return rec[k] end }) end
	fails("a refused connect", "refused", "127.0.0.1", s.free_port(), rec_now(), "*a")
	-- TCP cannot be spoken to the broadcast address; the kernel says so without sending anything.
	fails("an unreachable address", "unreachable", "255.255.255.255", 5222, rec_now(), "*a")

	-- A full accept queue drops the SYN, which looks like a host that does not answer.
	local full = s.peer_server(0)
	local fillers = {}
	for i = 1, 4 do
		fillers[i] = socket.tcp4()
		fillers[i]:settimeout(0)
		fillers[i]:connect("127.0.0.1", full.port)
	end
	s.sleep(0.05)
	fails("a host that does not answer", "^connection timeout$", "127.0.0.1", full.port, rec_now(), "*a")
end, {
	stock = {
		select = { "not offered: there is no connect timeout", match = "in vain for ondisconnect after a host that does not answer" },
	},
})

t.item(37, "addclient: typ tcp4, tcp6 and nil; port as string or number; read_size \"*a\", number and nil", function (s)
	local listening = s.peer_server()
	local six = assert(socket.bind("::1", 0))
	six:settimeout(0)
	local _, six_port = six:getsockname()
	six_port = math.tointeger(tonumber(six_port))
	local function addclient(sock, ip, port, read_size, typ, message)
		local rec = s.recorder()
		local conn, err = s.server.addclient(ip, port, rec, read_size, nil, typ)
		s.ok(conn, ("%s: %s"):format(message, err))
		local peer = s.wrap_peer(s.wait(function () return sock:accept() end, 5, "the connection, "..message))
		s.wait(function () return rec.conns[1] end, 5, "onconnect, "..message)
		s.ok(conn:write("hello\n"))
		s.eq(peer:receive_until(6), "hello\n", message)
		s.ok(peer:send("two\nlines\n"))
		s.wait(function () return #rec.data[conn] >= 8 end, 5, "the answer, "..message)
		s.sleep(0.02)
		s.eq(rec.data[conn], "two\nlines\n", message)
		conn:close()
	end
	addclient(listening.sock, "127.0.0.1", listening.port, "*a", nil, "typ nil")
	addclient(listening.sock, "127.0.0.1", listening.port, "*a", "tcp4", "typ tcp4")
	addclient(listening.sock, "127.0.0.1", listening.port, "*a", "tcp", "typ tcp")
	addclient(six, "::1", six_port, "*a", nil, "IPv6, typ nil")
	addclient(six, "::1", six_port, "*a", "tcp6", "typ tcp6")
	addclient(listening.sock, "127.0.0.1", listening.port, 4, nil, "read_size 4")
	addclient(listening.sock, "127.0.0.1", listening.port, nil, nil, "read_size nil")
	addclient(listening.sock, "127.0.0.1", tostring(listening.port), "*a", nil, "port as a string")
end, {
	stock = {
		event = { "read_size nil reads by lines and drops the newlines", match = "^read_size nil: got" },
		select = { "read_size nil reads by lines and drops the newlines", match = "^read_size nil: got" },
	},
})

local close_in_onconnect = "close() in the onconnect of an outgoing connection makes loop() raise"

t.item(38, "close() before onconnect, in onconnect, and twice: one ondisconnect", function (s)
	local listening = s.peer_server()
	local function once(rec, conn, what)
		s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect, "..what)
		s.sleep(0.05)
		s.eq(rec.disconnects[conn].n, 1, "ondisconnect calls, "..what)
		s.eq(rec.disconnects[conn][1] or nil, nil, "ondisconnect's error, "..what)
	end

	local rec = s.recorder()
	local early = s.ok(s.server.addclient("127.0.0.1", listening.port, rec, "*a"))
	early:close()
	early:close()
	once(rec, early, "closed before onconnect")
	s.eq(rec.count("onconnect"), 0, "onconnect after close()")

	rec = s.recorder { onconnect = function (conn) conn:close() conn:close() end }
	local in_connect = s.ok(s.server.addclient("127.0.0.1", listening.port, rec, "*a"))
	once(rec, in_connect, "an outgoing connection closed in onconnect")

	rec = s.recorder { onconnect = function (conn) conn:close() conn:close() end }
	local _, port = s.listen(rec)
	local peer = s.peer(port)
	peer:send("too late")
	s.ok(peer:closed(), "the peer sees the end")
	once(rec, s.wait(function () return rec.conns[1] end, 5, "onconnect"), "an accepted connection closed in onconnect")
	s.eq(rec.count("onincoming"), 0, "onincoming after close()")

	local conn, other, other_rec = s.pair()
	conn:close()
	conn:close()
	once(other_rec, conn, "closed twice")
	s.ok(other:closed(), "the peer sees the end")
	conn:close()
	s.sleep(0.02)
	s.eq(other_rec.disconnects[conn].n, 1, "close() of a dead handle")
end, {
	stock = {
		event = { "close() before onconnect does nothing", match = "in vain for ondisconnect, closed before onconnect" },
		select = { close_in_onconnect, match = "an error left server.loop.*bad argument #1 to 'send'" },
	},
})

t.item(39, "two attempts in parallel, the loser closed from its onconnect; net.connect goes on to the next target", function (s)
	local listening = s.peer_server()
	local rec = s.recorder { onincoming = echo }
	local winner
	local losers = 0
	local attempts = s.recorder {
		onconnect = function (conn)
			if winner then
				losers = losers + 1
				conn:close()
			else
				winner = conn
				conn:setlistener(rec)
			end
		end,
	}
	local first = s.ok(s.server.addclient("127.0.0.1", listening.port, attempts, "*a"))
	local second = s.ok(s.server.addclient("127.0.0.1", listening.port, attempts, "*a"))
	local peers = { listening:accept(), listening:accept() }
	s.wait(function () return winner and losers == 1 end, 5, "both attempts")
	local loser = winner == first and second or first
	s.wait(function () return attempts.disconnects[loser] end, 5, "the loser's ondisconnect")
	s.eq(attempts.count("ondisconnect"), 1, "ondisconnect calls")
	local with_winner
	s.wait(function ()
		for _, peer in ipairs(peers) do
			if not peer:closed(0) then with_winner = peer end
		end
		return peers[1].eof or peers[2].eof
	end, 5, "the loser's peer to see the end")
	s.ok(with_winner:send("hello"))
	s.eq(with_winner:receive_until(5), "hello", "the winner serves")

	-- Prosody's own.
	local connect = require "net.connect".connect
	local manual = require "net.resolvers.manual".new
	local served = s.recorder()
	local failed
	served.onfail = function (_, reason) failed = reason end
	served.onattach = function (conn, data) served.attached = data end
	connect(manual {
		{ "tcp4", "127.0.0.1", s.free_port() },
		{ "tcp4", "127.0.0.1", listening.port },
	}, served, {}, "the data")
	local conn = s.wait(function () return served.conns[1] end, 5, "net.connect to reach its second target")
	s.eq(served.attached, "the data", "onattach")
	exchange(s, conn, listening:accept(), served)
	connect(manual { { "tcp4", "127.0.0.1", s.free_port() } }, served, {}, nil)
	s.eq(s.wait(function () return failed end, 5, "onfail"), "connection refused")
	s.eq(served.count("onconnect"), 1)
end, {
	stock = { select = { close_in_onconnect, match = "an error left server.loop.*bad argument #1 to 'send'" } },
})

t.item(40, "wrapclient on connected and connecting TCP, on UNIX without address and port", function (s)
	local listening = s.peer_server()
	local function check(what, sock, ip, port, read_size, accept)
		local rec = s.recorder()
		local conn = s.ok(s.server.wrapclient(sock, ip, port, rec, read_size), what)
		s.eq(#rec.events, 0, "no callback before wrapclient has returned, "..what)
		local peer = s.wrap_peer(s.wait(accept, 5, "the connection, "..what))
		s.wait(function () return rec.conns[1] end, 5, "onconnect, "..what)
		s.eq(rec.conns[1], conn, "the handle, "..what)
		exchange(s, conn, peer, rec)
		conn:close()
		s.ok(peer:closed(), "the peer sees the end, "..what)
		s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect, "..what)
		-- As util.adminstream does.
		sock:close()
		s.eq(rec.disconnects[conn].n, 1, "ondisconnect calls, "..what)
		s.eq(rec.count("onconnect"), 1, "onconnect calls, "..what)
	end
	local function accept() return listening.sock:accept() end

	local connected = socket.tcp4()
	assert(connected:connect("127.0.0.1", listening.port))
	check("connected TCP", connected, "127.0.0.1", listening.port, "*a", accept)

	local connecting = socket.tcp4()
	connecting:settimeout(0)
	connecting:connect("127.0.0.1", listening.port)
	check("connecting TCP", connecting, "127.0.0.1", listening.port, "*a", accept)

	local unix = require "socket.unix"
	local path = s.tmpdir().."/socket"
	local unix_server = unix.stream()
	assert(unix_server:bind(path))
	assert(unix_server:listen())
	unix_server:settimeout(0)
	local client = unix.stream()
	assert(client:connect(path))
	check("UNIX", client, nil, nil, "*a", function () return unix_server:accept() end)
end)

-- What net/adns.lua does with its UDP sockets.
local function adns_socket(s, listeners)
	local sock = assert(socket.udp4())
	local handler = s.ok(s.server.wrapclient(sock, "dns", 53, listeners), "wrapclient of a UDP socket")
	if handler.set then
		handler:set(true, false)
	end
	handler.settimeout = function () end
	handler.setpeername = function (self, ...)
		local ret, err = sock:setpeername(...)
		self:set_send(function (_, _, i, j) return (j - i) + 1 end)
		return ret, err
	end
	handler.send = function (_, data) return sock:send(data) end
	return handler, sock
end

local function udp_responder()
	local sock = assert(socket.udp4())
	assert(sock:setsockname("127.0.0.1", 0))
	sock:settimeout(0)
	local _, port = sock:getsockname()
	return sock, port
end

t.item(41, "UDP: no empty datagram, boundaries kept, overridden methods honoured, no connect timeout", function (s)
	s.settings { connect_timeout = 0.2 }
	local responder, port = udp_responder()
	local rec = s.recorder()
	local handler = adns_socket(s, rec)
	s.eq(handler:setpeername("127.0.0.1", port), 1, "the overridden setpeername")
	s.eq(handler:send("question"), 8, "the overridden send")
	local data, ip, client_port
	s.wait(function ()
		data, ip, client_port = responder:receivefrom()
		return data
	end, 5, "a datagram")
	s.eq(data, "question", "the first datagram")
	responder:sendto("first", ip, client_port)
	responder:sendto("second, longer", ip, client_port)
	responder:sendto(("x"):rep(4000), ip, client_port)
	s.wait(function () return rec.count("onincoming") >= 3 end, 5, "three datagrams")
	local received = {}
	for _, event in ipairs(rec.events) do
		if event[1] == "onincoming" then
			s.eq(event[2], handler, "the handle")
			table.insert(received, event[3])
		end
	end
	s.eq(received[1], "first", "one onincoming for each datagram")
	s.eq(received[2], "second, longer", "one onincoming for each datagram")
	s.eq(received[3], ("x"):rep(4000), "one onincoming for each datagram")
	s.eq(#received, 3, "datagrams")

	s.sleep(0.6) -- three times the connect timeout
	s.eq(rec.count("ondisconnect"), 0, "ondisconnect of a UDP handle after the connect timeout")
	s.eq(handler:send("again"), 5)
	s.wait(function () data = responder:receivefrom() return data end, 5, "a datagram after the connect timeout")
	s.eq(data, "again", "no empty datagram was sent in between")
	responder:sendto("and back", ip, client_port)
	s.wait(function () return rec.count("onincoming") == 4 end, 5, "the answer after the connect timeout")
	handler:close()
	s.wait(function () return rec.count("ondisconnect") == 1 end, 5, "ondisconnect")
	s.eq(responder:receivefrom(), nil, "no datagram at the end")
end, {
	stock = {
		epoll = { "a UDP handle ends with \"write timeout\" at the connect timeout", match = "^ondisconnect of a UDP handle" },
	},
})

-- Answers any question about an A record with 192.0.2.7 (RFC 1035, section 4).
local function answer_dns(responder)
	local data, ip, port = responder:receivefrom()
	if not data then return end
	local question_end = data:find("\0", 13, true) + 4
	local reply = data:sub(1, 2).."\129\128\0\1\0\1\0\0\0\0"..data:sub(13, question_end)
		.."\192\012\0\1\0\1\0\0\0\060\0\4"..string.char(192, 0, 2, 7)
	responder:sendto(reply, ip, port)
	return true
end

t.item(42, "net.adns with net.dns, and net.unbound with purge(), resolve through the backend", function (s)
	local responder, port = udp_responder()
	local adns = require "net.adns"
	local resolver = adns.resolver()
	-- net.dns always asks port 53; everything else is Prosody's own code.
	resolver._resolver:socket_wrapper_set(function (sock, res)
		local handler, err = adns.new_async_socket(sock, res)
		if not handler then return nil, err end
		local setpeername = handler.setpeername
		handler.setpeername = function (self, ip) return setpeername(self, ip, port) end
		return handler
	end)
	resolver._resolver.server = {}
	resolver._resolver:addnameserver("127.0.0.1")
	for i = 1, 2 do
		local answers
		resolver:lookup(function (a) answers = a or {} end, ("host%d.example."):format(i), "A")
		s.wait(function ()
			answer_dns(responder)
			return answers
		end, 5, "the answer by net.dns")
		s.eq(answers[1] and answers[1].a, "192.0.2.7", "the answer by net.dns")
	end

	s.ok(pcall(require, "lunbound"), "lua-unbound is needed for net.unbound")
	local hosts = s.tmpdir().."/hosts"
	local file = assert(io.open(hosts, "w"))
	file:write("192.0.2.7 host3.example host4.example\n")
	file:close()
	_G.prosody = { events = { add_handler = function () end } }
	package.loaded["core.configmanager"] = {
		get = function (_, name)
			if name ~= "unbound" then return end
			-- libunbound asks no server on the loopback, but it does answer from a hosts file, by the same
			-- thread and descriptor as everything else.
			return { resolvconf = false, hoststxt = hosts }
		end,
	}
	local unbound = require "net.unbound"
	local function resolves(name)
		local answers
		s.ok(unbound.lookup(function (a, err) answers = a or { err } end, name, "A"), "net.unbound's lookup")
		s.wait(function () return answers end, 8, "the answer by net.unbound")
		s.eq(tostring(answers[1]), "192.0.2.7", "the answer by net.unbound")
	end
	resolves("host3.example.")
	local ok, err = pcall(unbound.dns.purge)
	s.ok(ok, "purge() raises: "..tostring(err))
	resolves("host4.example.")
end, {
	stock = {
		event = { "the handles of watchfd have no close(), so purge() raises", match = "^purge%(%) raises" },
	},
})
