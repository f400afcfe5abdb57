-- Loading, the process life cycle, and memory: items 3 to 5 and 7 to 15 of the contract.

local t = require "harness"

t.item(3, "the module is a writable table with get_backend, without event_base and cq", function (s)
	s.eq(type(s.server), "table")
	s.server.no_such_field = "written"
	s.eq(s.server.no_such_field, "written", "Prosody adds get_backend, hook_signal and tls_builder to it")
	s.server.no_such_field = nil
	local backend = s.server.get_backend()
	s.eq(type(backend), "string", "get_backend()")
	s.note(backend)
	if s.is_trochee then
		s.ok(backend:find(s.poller, 1, true), "get_backend() must name the poller under test, it says "..backend)
	end
	s.eq(s.server.cq, nil, "cq would take net/cqueues.lua another way")
	s.eq(s.server.event_base, nil, "event_base is the mark of the libevent backend")
end, {
	stock = { event = { "not offered: it is the libevent backend, and has the names of libevent", match = "^event_base" } },
})

-- Whether a silent connection is disconnected soon. The default is minutes, so one that is has a new read_timeout.
local function dies_within(s, seconds)
	local conn, peer, rec = s.pair()
	s.ok(peer:send("x")) -- some backends count from the first read on
	local deadline = s.now() + seconds
	while s.now() < deadline and not rec.disconnects[conn] do
		s.sleep(0.01)
	end
	local died = rec.disconnects[conn] ~= nil
	peer:close()
	return died
end

local wrong_types = "network_settings of a wrong type are used as they are and raise where they are needed"

t.item(4, "settings: none, unknown keys, wrong types and repetition are harmless; new values apply to new conns", function (s)
	s.settings {}
	s.settings {}
	s.settings { no_such_setting = true, [1] = "an array part" }

	s.settings { read_timeout = 0.1 }
	s.ok(dies_within(s, 3), "a new read_timeout applies to a new connection")
	s.settings {}
	s.ok(not dies_within(s, 0.4), "without it the default is back")

	s.settings {
		read_timeout = "soon", send_timeout = {}, connect_timeout = false, tcp_backlog = "many", read_size = {},
		max_send_buffer_size = "big", accept_retry_interval = "later", nagle = "no", tcp_keepalive = "yes",
		max_wait = "long", min_wait = true, opportunistic_writes = "perhaps", max_connections = "all",
	}
	local conn, peer = s.pair({ onincoming = function (conn, data) conn:write(data) end })
	s.ok(peer:send("hello"))
	s.eq(peer:receive_until(5), "hello", "an echo with values of wrong types in network_settings")
	conn:close()
	s.settings {}
end, {
	logs_errors = true, -- about the wrong types, at whatever level the backend finds right
	stock = {
		epoll = { wrong_types, match = "bad argument #1 to 'listen'" },
		event = { wrong_types, match = "bad argument #1 to 'listen'" },
		select = { wrong_types, match = "attempt to compare string with number" },
	},
})

t.item(5, "settings in the form of the backend: set_config; the table cfg of event; getsettings and changesettings of select",
function (s)
	local server = s.server
	if server.cfg then
		local keys = {}
		for key in pairs(server.cfg) do
			table.insert(keys, key)
		end
		table.sort(keys)
		s.eq(table.concat(keys, " "), "ACCEPT_DELAY ACCEPT_QUEUE CLEAR_DELAY CONNECT_TIMEOUT DEBUG HANDSHAKE_TIMEOUT MAX_CONNECTIONS "..
			"MAX_HANDSHAKE_ATTEMPTS MAX_READ_LENGTH MAX_SEND_LENGTH READ_RETRY_DELAY READ_TIMEOUT WRITE_TIMEOUT", "the keys of cfg")
		server.cfg.READ_TIMEOUT = 0.1
		s.eq(server.cfg.READ_TIMEOUT, 0.1, "what was assigned")
		s.eq(server.cfg.WRITE_TIMEOUT, 180, "what was not")
	elseif server.getsettings then
		local settings = server.getsettings()
		for _, name in ipairs {
			"select_timeout", "select_idle_check_interval", "tcp_backlog", "max_send_buffer_size", "max_receive_buffer_size",
			"send_timeout", "read_timeout", "max_connections", "max_ssl_handshake_roundtrips", "highest_allowed_fd",
			"accept_retry_interval",
		} do
			s.ok(settings[name] ~= nil, name.." in getsettings()")
		end
		s.eq(server.changesettings("all"), nil, "not a table")
		s.eq(server.changesettings({ read_timeout = 0.1 }), true, "changesettings")
		settings.read_timeout = 0.1
		for name, value in pairs(server.getsettings()) do
			s.eq(value, settings[name], name.." after changesettings")
		end
	else
		server.set_config({ read_timeout = 0.1 })
	end
	s.ok(dies_within(s, 3), "a new read_timeout applies to a new connection")
end, { stock_names = true })

t.item(7, "loaded but never looped, as in prosodyctl: exits cleanly and leaves no thread", function (s)
	local source = [[
		local s, how = ...
		local recorder = s.recorder()
		s.listen(recorder)
		s.timer.add_task(3600, function () end)
		local threads = 0
		for _ in io.popen("ls /proc/"..require "util.pposix".getpid().."/task"):lines() do threads = threads + 1 end
		print(threads)
		if how == "exit" then os.exit(5, true) end
	]]
	for how, expected in pairs { exit = 5, ["return"] = 0 } do
		local child = s.child(source, how)
		s.eq(child:wait(), expected, "exit status after "..how..", stderr: "..child:stderr())
		s.eq(child:stdout(), "1\n", "threads of a process that never entered the loop")
		s.eq(child:stderr(), "", "stderr")
	end
end)

t.item(8, "fork after loading and listening, as prosody -D does: the child serves, the parent exits 0", function (s)
	local dir = s.tmpdir()
	local child = s.child([[
		local s, dir = ...
		local fired = "no"
		local handle, port = s.listen({
			onincoming = function (conn, data)
				if data:match("quit") then
					conn:write("bye\n")
					s.server.setquitting(true)
				else
					conn:write("timer "..fired.."\n")
				end
			end;
			ondisconnect = function () end;
		}, { read_size = "*a" })
		s.timer.add_task(0.1, function () fired = "yes" end)
		local file = assert(io.open(dir.."/port", "w"))
		file:write(port, "\n")
		file:close()
		local ok, pid = require "util.pposix".daemonize()
		assert(ok, pid)
		if pid and pid > 0 then
			os.exit(0)
		end
		-- Whatever happens, the daemon does not outlive the item.
		s.timer.add_task(15, function () os.exit(3) end)
		local result = s.server.loop()
		local file = assert(io.open(dir.."/result.new", "w"))
		file:write(tostring(result))
		file:close()
		os.rename(dir.."/result.new", dir.."/result")
	]], dir)
	s.eq(child:wait(), 0, "the parent's exit status, stderr: "..child:stderr())
	local function read(name)
		local file = io.open(dir.."/"..name)
		if not file then return end
		local text = file:read("*a")
		file:close()
		return text
	end
	local port = tonumber(read("port"))
	local peer = s.peer(port)
	s.sleep(0.2)
	s.ok(peer:send("hello\n"))
	s.eq(peer:receive_until("\n"), "timer yes\n", "the child's answer; its timer was queued before the fork")
	s.ok(peer:send("quit\n"))
	s.eq(s.wait(function () return read("result") end, 10, "the child's loop to return"), "quitting")
end)

t.item(9, "os.exit(code, true) in onincoming, in a timer and after the loop", function (s)
	local source = [[
		local s, where = ...
		if where == "onincoming" then
			local handle, port = s.listen({ onincoming = function () os.exit(41, true) end, ondisconnect = function () end })
			client = assert(require "socket".connect("127.0.0.1", port))
			client:send("now\n")
		elseif where == "timer" then
			s.listen({})
			s.timer.add_task(0.01, function () os.exit(42, true) end)
		else
			s.timer.add_task(0.01, function () s.server.setquitting(true) end)
		end
		s.server.loop()
		os.exit(43, true)
	]]
	local children = {}
	for where, expected in pairs { onincoming = 41, timer = 42, after = 43 } do
		children[where] = { s.child(source, where), expected }
	end
	for _, where in ipairs { "onincoming", "timer", "after" } do
		local child, expected = table.unpack(children[where])
		s.eq(child:wait(), expected, "exit status of os.exit in/after: "..where..", stderr: "..child:stderr())
		s.eq(child:stderr(), "", "stderr")
	end
end)

t.item(10, "an error thrown through loop(): loop() can be called again and goes on", function (s)
	s.settings { protect_listeners = false }
	local resumed
	s.start(function ()
		local listeners = {
			onincoming = function (conn, data)
				if data == "boom" then error("the listener's own fault", 0) end
				conn:write(data)
			end,
		}
		local _, good, rec, _, port = s.pair(listeners)
		local bad = s.peer(port)
		s.ok(bad:send("boom"))
		s.wait(function () return resumed end, 5, "the loop to be called again")
		s.ok(good:send("old"))
		s.eq(good:receive_until(3), "old", "a connection made before the error")
		local new = s.peer(port)
		s.ok(new:send("new"))
		s.eq(new:receive_until(3), "new", "a connection made after the error")
		s.ok(rec.count("onconnect") == 3, "three connections")
	end)
	local ok, err = s.loop()
	s.eq(ok, false, "the error leaves loop(), which returned "..tostring(err))
	s.ok(tostring(err):match("the listener's own fault"), "the error is the listener's own: "..tostring(err))
	resumed = true
	ok, err = s.loop()
	s.fail(("the second loop() came back before the item was done: %s, %s"):format(ok, err))
end, {
	raw = true,
	-- Prosody passes no false on to the backends event and select
	stock_names = false,
})

t.item(11, "loop() returns \"quitting\"; after that it returns at once", function (s)
	s.start(function ()
		s.sleep(0.02)
		s.server.setquitting(true)
	end, function () end)
	local ok, result = s.loop()
	s.ok(ok, result)
	s.eq(result, "quitting", "loop() after setquitting(true)")
	local before = s.now()
	ok, result = s.loop()
	s.ok(ok, result)
	s.eq(result, "quitting", "the second loop()")
	s.ok(s.now() - before < 3, "the second loop() does not wait")
end, { raw = true })

t.item(12, "SIGHUP, SIGINT and SIGTERM are handled while the loop is idle", function (s)
	local child = s.child([[
		local s = ...
		local signal = require "util.signal"
		s.listen({})
		io.stdout:setvbuf("no")
		for _, name in ipairs { "SIGHUP", "SIGINT", "SIGTERM" } do
			signal.signal(name, function ()
				io.write(name, "\n")
				if name == "SIGTERM" then os.exit(9) end
			end)
		end
		-- No other timer is left afterwards: only the signal can end the wait.
		s.timer.add_task(0.05, function () io.write("ready\n") end)
		s.server.loop()
	]])
	s.wait(function () return child:stdout():match("ready\n") end, 5, "the child")
	s.sleep(0.1)
	for _, name in ipairs { "SIGHUP", "SIGINT" } do
		s.ok(child:kill(name))
		s.wait(function () return child:stdout():match(name) end, 2, "the handler of "..name)
	end
	s.ok(child:kill("SIGTERM"))
	s.eq(child:wait(2), 9, "exit status by the handler of SIGTERM")
	s.eq(child:stdout(), "ready\nSIGHUP\nSIGINT\nSIGTERM\n", "each handler ran once")
end)

local no_hook_signal = "not offered: no hook_signal, so that util.signal itself answers, which raises for an unknown name"

t.item(13, "hook_signal takes a number, util.signal a name too; the callback runs on the loop's own state", function (s)
	local signal = require "util.signal"
	local calls = {}
	local function handler(which)
		return function ()
			local _, is_main = coroutine.running()
			table.insert(calls, { which, is_main })
		end
	end
	signal.signal("SIGUSR1", handler "by name")
	s.server.hook_signal(signal.SIGUSR2, handler "by number")
	s.start(function ()
		local pid = require "util.pposix".getpid()
		signal.kill(pid, signal.SIGUSR1)
		s.wait(function () return calls[1] end, 5, "SIGUSR1")
		s.eq(calls[1][1], "by name")
		s.eq(calls[1][2], true, "the callback runs on the state that runs the loop")
		signal.kill(pid, signal.SIGUSR2)
		s.wait(function () return calls[2] end, 5, "SIGUSR2")
		s.eq(calls[2][1], "by number")
		s.eq(calls[2][2], true, "the callback runs on the state that runs the loop")
		local no_error, result, err = pcall(signal.signal, "SIGNOPE", handler "never")
		s.ok(no_error, "an unknown signal name must not raise: "..tostring(result))
		s.eq(result, false, "an unknown signal name")
		s.eq(err, "invalid-signal", "an unknown signal name")
	end)
	s.loop()
end, {
	raw = true,
	stock = {
		epoll = { no_hook_signal, match = "^an unknown signal name must not raise" },
		["epoll-13"] = false,
		select = { no_hook_signal, match = "^an unknown signal name must not raise" },
	},
})

t.item(14, "handles to which only the backend refers survive the garbage collector; closed ones are collected", function (s)
	local alive = setmetatable({}, { __mode = "k" })
	local gone = 0
	local listeners = {
		onconnect = function (conn) alive[conn] = true end,
		onincoming = function (conn, data)
			collectgarbage()
			conn:write(data)
		end,
		ondisconnect = function () gone = gone + 1 end,
	}
	local _, port = s.listen(listeners)
	local function count()
		local n = 0
		for _ in pairs(alive) do n = n + 1 end
		return n
	end
	local peers = {}
	for i = 1, 50 do
		peers[i] = s.peer(port)
	end
	s.wait(function () return count() == 50 end, 5, "50 connections")
	collectgarbage()
	collectgarbage()
	s.eq(count(), 50, "open handles are not collected")
	for i, peer in ipairs(peers) do
		s.ok(peer:send(("%04d"):format(i)))
	end
	for i, peer in ipairs(peers) do
		s.eq(peer:receive_until(4), ("%04d"):format(i), "the echo")
	end
	for i, peer in ipairs(peers) do
		if i > 10 then peer:close() end
	end
	s.wait(function () return gone == 40 end, 5, "40 disconnects")
	s.wait(function ()
		collectgarbage()
		return count() == 10
	end, 5, "the closed handles to be collected")
	for i = 1, 10 do
		s.ok(peers[i]:send("again"))
		s.eq(peers[i]:receive_until(5), "again", "the echo on those that are left")
	end
end)

t.item(15, "unknown members of a handle, a server handle and socket() read as nil", function (s)
	local conn, _, _, handle = s.pair()
	-- Names that Prosody's modules test for, and one that nobody has.
	for _, name in ipairs { "no_such_member", "cq" } do
		s.eq(conn[name], nil, "conn."..name)
		s.eq(handle[name], nil, "server handle."..name)
	end
	local sock = s.ok(conn:socket(), "conn:socket()")
	for _, name in ipairs { "no_such_member", "getpeercertificate", "getpeerfinished", "getalpn", "dohandshake" } do
		s.eq(sock[name], nil, "socket()."..name.." of a plain connection")
	end
end)
