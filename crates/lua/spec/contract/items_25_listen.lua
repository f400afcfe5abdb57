-- Listening and accepting: items 25 to 33 of the contract, without 31 (LISTEN_FDS, which 0.12 does not have).

local t = require "harness"
local socket = require "socket"

local function echo(conn, data) conn:write(data) end

-- The socket option of a handle as the kernel has it, read through a second LuaSocket object on the same descriptor.
local function getoption(s, conn, option)
	local probe = socket.tcp4()
	local own = probe:getfd()
	probe:setfd(conn.getfd and conn:getfd() or conn:socket():getfd())
	local value, err = probe:getoption(option)
	probe:setfd(own)
	probe:close()
	s.ok(value ~= nil, tostring(err))
	return value
end

t.item(25, "listen on \"*\" and \"::\" with one port; accepted addresses have no ::ffff: prefix", function (s)
	local rec = s.recorder()
	local port = s.free_port("*")
	for _, addr in ipairs { "*", "::" } do
		local handle, err = s.server.listen(addr, port, rec)
		s.ok(handle, ("listen on %s: %s"):format(addr, err))
	end
	s.peer(port, "127.0.0.1")
	s.wait(function () return rec.conns[1] end, 5, "the connection over IPv4")
	s.eq(rec.conns[1]:ip(), "127.0.0.1")
	s.peer(port, "::1")
	s.wait(function () return rec.conns[2] end, 5, "the connection over IPv6")
	s.eq(rec.conns[2]:ip(), "::1")
end)

t.item(26, "listen on a port in use, a privileged port, a bad name: nil and the text that portmanager looks for", function (s)
	local occupied = s.peer_server()
	local handle, err = s.server.listen("127.0.0.1", occupied.port, {})
	s.eq(handle, nil, "listen on a port in use")
	s.ok(tostring(err):match(" in use"), "the error for a port in use: "..tostring(err))

	handle, err = s.server.listen("256.0.0.1", s.free_port(), {})
	s.eq(handle, nil, "listen on a bad name")
	s.eq(type(err), "string", "the error for a bad name")

	local file = io.open("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	local first_unprivileged = file and file:read("*n") or 1024
	if file then file:close() end
	if first_unprivileged < 2 then
		s.note("no port is privileged here")
		return
	end
	local child = s.child([[
		local s, port = ...
		local pposix = require "util.pposix"
		if pposix.getuid() == 0 then
			assert(pposix.setuid("nobody"))
		end
		print(s.server.listen("127.0.0.1", tonumber(port), {}))
	]], first_unprivileged - 1)
	s.eq(child:wait(), 0, "exit status, stderr: "..child:stderr())
	s.ok(child:stdout():match("^nil\t.*permission"), "nil and an error with \"permission\": "..child:stdout())
end)

t.item(27, "server handle: ip, port, close, hosts, server, serverport, sslctx", function (s)
	local rec = s.recorder()
	local port = s.free_port("*")
	local handle = s.server.listen("*", port, rec, { sni_hosts = {} })
	s.ok(handle, "listen")
	s.eq(handle:ip(), "*", "ip() is the string that was bound")
	s.eq(type(handle.hosts), "table", "hosts")
	s.eq(type(handle.close), "function", "close")
	local peer = s.peer(port)
	local conn = s.wait(function () return rec.conns[1] end, 5, "onconnect")
	s.eq(conn:server(), handle, "conn:server() is the server handle")
	s.ok(handle.port, "port")
	s.eq(handle:port(), port, "port()")
	s.ok(handle.server, "server")
	s.eq(handle:server(), handle, "server() is the handle itself")
	s.eq(handle:serverport(), port, "serverport()")
	s.ok(handle.sslctx, "sslctx")
	s.eq(handle:sslctx(), nil, "sslctx() without TLS")
	peer:close()
end, {
	stock = {
		epoll = { "serverport() of a server handle is nil", match = "^serverport%(%): got nil" },
		event = { "serverport() of a server handle is nil", match = "^serverport%(%): got nil" },
		select = { "not offered: server handles have neither port() nor server()", match = "^port: got nil" },
	},
})

t.item(28, "closing a listener frees its port at once, refuses new connections and keeps the accepted ones", function (s)
	local conn, peer, rec, handle, port = s.pair({ onincoming = echo })
	handle:close()
	local again, err = s.server.listen("127.0.0.1", port, rec)
	s.ok(again, "listen on the port right after close(): "..tostring(err))
	local second = s.peer(port)
	s.wait(function () return rec.conns[2] end, 5, "a connection to the second listener")
	s.ok(second:send("second"))
	s.eq(second:receive_until(6), "second")
	again:close()
	s.sleep(0.05)
	local sock = socket.tcp4()
	sock:settimeout(1)
	local ok, refused = sock:connect("127.0.0.1", port)
	s.eq(ok, nil, "connect after close()")
	s.eq(refused, "connection refused", "connect after close()")
	for _, p in ipairs { peer, second } do
		s.ok(p:send("still here"))
		s.eq(p:receive_until(10), "still here", "an accepted connection outlives its listener")
	end
	s.eq(rec.disconnects[conn], nil)
end)

-- How often this process has waited for anything. A loop that waits does so for every step of the harness, hundreds of
-- times a second; a busy one never does. Unlike CPU time this does not depend on what else the machine is doing.
local function voluntary_switches(status_file)
	status_file:seek("set")
	return tonumber(status_file:read("*a"):match("\nvoluntary_ctxt_switches:%s*(%d+)"))
end

t.item(29, "no descriptor left for accept: no busy loop, and every listener recovers soon", function (s)
	local pposix = require "util.pposix"
	local rec = s.recorder { onincoming = echo }
	local _, port_a = s.listen(rec)
	local _, port_b = s.listen(rec)
	local established = s.peer(port_a)
	s.wait(function () return rec.conns[1] end, 5, "a connection before the shortage")
	local status_file = assert(io.open("/proc/self/status")) -- opened before the descriptors run out
	local late_a, late_b, late = socket.tcp4(), socket.tcp4(), socket.tcp4()
	assert(pposix.setrlimit("NOFILE", 100, 100))
	local fillers = {}
	while true do
		local sock = socket.tcp4()
		if not sock then break end
		table.insert(fillers, sock)
	end
	s.ok(#fillers > 10 and #fillers < 100, "the limit is in force: "..#fillers)

	late:settimeout(0)
	late:connect("127.0.0.1", port_a)
	local waits = voluntary_switches(status_file)
	s.sleep(1)
	waits = voluntary_switches(status_file) - waits
	s.ok(established:send("during"))
	s.eq(established:receive_until(6), "during", "established connections go on")
	-- A busy loop never waits. On a machine that has other work, one that is not busy waits less often than its timers ask for.
	s.ok(waits > 10, ("no busy loop: the loop waited only %d times in 1 s"):format(waits))

	for i = 1, 20 do
		fillers[i]:close()
	end
	for _, late_one in ipairs {
		{ port_b, late_b, "the other listener goes on" },
		{ port_a, late_a, "the starved listener recovers" },
	} do
		local port, sock, what = table.unpack(late_one)
		sock:settimeout(0)
		sock:connect("127.0.0.1", port)
		local peer = s.wrap_peer(sock)
		s.sleep(0.01) -- the connect
		s.ok(peer:send("hello"))
		s.eq(peer:receive_until(5, 3), "hello", what)
	end
	-- Whoever knocked meanwhile may be turned away or served late, but is not forgotten.
	local waiting = s.wrap_peer(late)
	waiting:send("hello?")
	s.eq(waiting:receive_until(6, 3) or waiting.eof and "hello?", "hello?", "the connection that came meanwhile")
end, {
	logs_errors = true, -- running out of descriptors is worth one
	stock = {
		epoll = { "one failed accept pauses the listener for ten seconds", match = "^the starved listener recovers: got nil" },
		event = { "a failed accept is tried again and again: busy loop", match = "^no busy loop" },
		select = { "one failed accept pauses the listener for ten seconds", match = "^the starved listener recovers: got nil" },
	},
})

t.item(30, "1000 connections in one burst get exactly one onconnect each", function (s)
	-- By default, trochee keeps more descriptors free on select than these leave.
	s.settings { tcp_backlog = 1024, max_connections = s.is_trochee and 1024 or nil }
	local rec = s.recorder { onincoming = echo }
	local _, port = s.listen(rec)
	-- In a process of its own, so that both ends fit below the 1024 descriptors of select.
	local child = s.child([[
		local s, port = ...
		local socket = require "socket"
		local socks = {}
		for i = 1, 1000 do
			socks[i] = assert(socket.tcp4())
			socks[i]:settimeout(0)
			socks[i]:connect("127.0.0.1", port)
		end
		for i = 1, 1000 do
			socks[i]:settimeout(10)
			assert(socks[i]:send(("%04d"):format(i)))
		end
		for i = 1, 1000 do
			local data = assert(socks[i]:receive(4))
			assert(data == ("%04d"):format(i), data)
		end
	]], port)
	s.eq(child:wait(30), 0, "the 1000 echos, stderr: "..child:stderr())
	s.eq(#rec.conns, 1000, "onconnect")
	local seen = {}
	for _, conn in ipairs(rec.conns) do
		s.ok(not seen[conn], "no second onconnect of one handle")
		seen[conn] = true
	end
	s.wait(function () return rec.count("ondisconnect") == 1000 end, 10, "1000 disconnects")
end, { limit = 40 })

t.item(31, "LISTEN_FDS: a socket of systemd serves its address, outlives close() and serves again; other addresses are bound as usual",
function (s)
	local socket = require "socket"
	local function bound(sock, addr)
		assert(sock:bind(addr, 0))
		assert(sock:listen(32))
		return sock, math.tointeger(tonumber((select(2, sock:getsockname()))))
	end
	local first, first_port = bound(socket.tcp4(), "127.0.0.1")
	local second, second_port = bound(socket.tcp6(), "::1")
	local no_listener = socket.udp4()
	no_listener:setsockname("127.0.0.1", 0)
	local dir = s.tmpdir()
	local file = assert(io.open(dir.."/chunk.lua", "w"))
	file:write [[
		local s, first_port, second_port, other_port = ...
		first_port = tonumber(first_port)
		local function say(what) print(what) io.stdout:flush() end
		local listeners, handle = {}, nil
		function listeners.onincoming(conn, data)
			if data == "close" then
				handle:close()
				conn:write("closed")
			elseif data == "listen" then
				handle = s.server.listen("127.0.0.1", first_port, listeners)
				conn:write(handle and "listening" or "refused")
			elseif data == "quit" then
				os.exit(0, true)
			else
				conn:write("echo "..data)
			end
		end
		function listeners.ondisconnect() end
		local err
		handle, err = s.server.listen("127.0.0.1", first_port, listeners)
		say(handle and "first" or err)
		say(s.server.listen("::1", tonumber(second_port), listeners) and "second" or "no second")
		say(s.server.listen("127.0.0.1", tonumber(other_port), listeners) and "other" or "no other")
		-- Whatever happens, it does not outlive the item.
		s.timer.add_task(20, function () os.exit(3) end)
		s.server.loop()
	]]
	file:close()
	-- A shell that can name descriptors above 9; what is passed on begins with 3.
	os.execute(([[LISTEN_FDS=3 bash -c 'exec 3<&%d 4<&%d 5<&%d; exec %s %srun_item.lua --child %s %s/chunk.lua %d %d %d' \
		>'%s/stdout' 2>'%s/stderr' </dev/null &]]):format(first:getfd(), no_listener:getfd(), second:getfd(), t.lua, t.here, s.subject, dir,
		first_port, second_port, s.free_port(), dir, dir))
	local function read(name)
		return s.read_file(dir.."/"..name) or ""
	end
	s.wait(function () return read("stdout"):find("other\n") or read("stderr") ~= "" end, 5, "the child's start")
	s.eq(read("stdout"), "first\nsecond\nother\n", "what the child listens on")
	local function ask(peer, what)
		peer:send(what)
		return (peer:receive_until(function (all) return #all > 3 end))
	end
	local peer, peer6 = s.peer(first_port), s.peer(second_port, "::1")
	s.eq(ask(peer, "1"), "echo 1", "the answer through a socket that was passed on")
	s.eq(ask(peer6, "2"), "echo 2", "the answer through the other one")
	s.eq(ask(peer6, "close"), "closed")
	s.eq(ask(peer, "3"), "echo 3", "a connection after its listener was closed")
	-- The socket is the system's: who connects now waits for the next listener
	local waiting = s.peer(first_port)
	waiting:send("4")
	s.sleep(0.1)
	s.eq(waiting:read_available(), "", "an answer without a listener")
	s.eq(ask(peer6, "listen"), "listening", "listening once more")
	s.eq(waiting:receive_until(6), "echo 4", "the answer to who has waited")
	peer6:send("quit")
	s.ok(peer6:closed(), "the child's end")
	for _, sock in ipairs { first, second, no_listener } do sock:close() end
end, {
	stock = {
		epoll = { "not offered: socket activation is new in 13.0", match = "address already in use" },
		["epoll-13"] = false,
		event = { "not offered: socket activation", match = "address already in use" },
		select = { "not offered: socket activation", match = "address already in use" },
	},
})

t.item(32, "wrapserver with a UNIX listener: ip() is the path, port 0; closing both objects is safe", function (s)
	local wrapserver = s.ok(s.server.wrapserver, "wrapserver")
	local unix = require "socket.unix"
	local path = s.tmpdir().."/socket"
	local sock = unix.stream()
	assert(sock:bind(path))
	assert(sock:listen())
	sock:settimeout(0)
	local rec = s.recorder { onincoming = echo }
	local handle = s.ok(wrapserver(sock, path, 0, rec), "wrapserver")
	s.eq(handle:ip(), path, "the server handle's ip()")
	s.eq(handle:port(), 0, "the server handle's port()")
	local client = unix.stream()
	assert(client:connect(path))
	local peer = s.wrap_peer(client)
	local conn = s.wait(function () return rec.conns[1] end, 5, "onconnect")
	s.eq(conn:ip(), path, "the accepted connection's ip()")
	s.eq(conn:port(), 0, "the accepted connection's port()")
	s.ok(peer:send("over UNIX"))
	s.eq(peer:receive_until(9), "over UNIX")

	handle:close()
	-- If the LuaSocket object still owned the number, its close() would hit whoever has the number now.
	s.sleep(0.05)
	local later, later_peer = s.pair({ onincoming = echo })
	sock:close()
	s.ok(later_peer:send("still here"))
	s.eq(later_peer:receive_until(10), "still here", "a connection made between the two closes")
	s.ok(peer:send("me too"))
	s.eq(peer:receive_until(6), "me too", "the connection accepted over UNIX")
	conn:close()
	later:close()
end, {
	stock = {
		event = { "not offered: wrapserver came with 0.12.4", match = "^wrapserver: got nil" },
		["event-13"] = false,
		select = { "not offered: there is no wrapserver", match = "^wrapserver: got nil" },
	},
})

t.item(33, "TCP options: nagle, tcp_keepalive, tcp_defer_accept", function (s)
	local listening = s.peer_server()
	local function both(settings)
		s.settings(settings)
		local accepted = s.pair()
		local rec = s.recorder()
		local outgoing = s.ok(s.server.addclient("127.0.0.1", listening.port, rec, "*a"))
		s.wait(function () return rec.conns[1] end, 5, "the outgoing connection")
		return ipairs { accepted, outgoing }
	end
	for _, conn in both { nagle = false, tcp_keepalive = true } do
		s.eq(getoption(s, conn, "tcp-nodelay"), true, "TCP_NODELAY with nagle = false")
		s.eq(getoption(s, conn, "keepalive"), true, "SO_KEEPALIVE with tcp_keepalive = true")
	end
	for _, conn in both { nagle = true, tcp_keepalive = 77 } do
		s.eq(getoption(s, conn, "tcp-nodelay"), false, "TCP_NODELAY with nagle = true")
		s.eq(getoption(s, conn, "keepalive"), true, "SO_KEEPALIVE with tcp_keepalive = 77")
		s.eq(getoption(s, conn, "tcp-keepidle"), 77.0, "TCP_KEEPIDLE with tcp_keepalive = 77")
	end
	for _, conn in both { tcp_keepalive = false } do
		s.eq(getoption(s, conn, "keepalive"), false, "SO_KEEPALIVE with tcp_keepalive = false")
		s.eq(conn:setoption("keepalive", true) and true, true, "setoption(\"keepalive\", true)")
		s.eq(getoption(s, conn, "keepalive"), true, "SO_KEEPALIVE after setoption")
	end

	s.settings { tcp_defer_accept = 10, tcp_fastopen = 16 }
	local rec = s.recorder { onincoming = echo }
	local _, port = s.listen(rec)
	local peer = s.peer(port)
	s.sleep(0.2)
	s.eq(#rec.conns, 0, "with tcp_defer_accept a connection without data is not accepted")
	s.ok(peer:send("data"))
	s.eq(peer:receive_until(4), "data", "the echo once there is data")
end, {
	stock = {
		epoll = { "not offered: tcp_defer_accept is new in 13.0", match = "^with tcp_defer_accept" },
		["epoll-13"] = false,
		event = { "not offered: neither nagle nor tcp_keepalive", match = "^TCP_NODELAY" },
		select = { "not offered: neither nagle nor tcp_keepalive", match = "^TCP_NODELAY" },
	},
})
