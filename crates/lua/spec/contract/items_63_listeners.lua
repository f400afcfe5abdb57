-- Listeners: items 63 to 69 of the contract.

local t = require "harness"

local function disconnected(s, rec, conn, what)
	return s.wait(function () return rec.disconnects[conn] end, 5, what or "ondisconnect")
end

t.item(63, "setlistener: ondetach(old), then onattach(new, data) before it returns; no second onconnect", function (s)
	local order = {}
	local function recorder(name)
		local overrides = {}
		for _, callback in ipairs { "onconnect", "onincoming", "ondisconnect", "ondetach", "onattach", "ondrain" } do
			overrides[callback] = function (...)
				table.insert(order, table.pack(name.." "..callback, ...))
			end
		end
		return s.recorder(overrides)
	end
	local old, new = recorder("old"), recorder("new")
	local conn, peer = s.pair(old)
	s.wait(function () return #order == 1 end, 5, "the old listener's onconnect")

	local data = {}
	conn:setlistener(new, data)
	s.eq(#order, 3, "callbacks by the time setlistener() has returned")
	s.eq(order[2][1], "old ondetach")
	s.eq(order[2][2], conn, "ondetach's connection")
	s.eq(order[2].n, 2, "ondetach has no further argument")
	s.eq(order[3][1], "new onattach")
	s.eq(order[3][2], conn, "onattach's connection")
	s.eq(order[3][3], data, "onattach's data")

	peer:send("x")
	s.wait(function () return #order > 3 end, 5, "data for the new listener")
	s.eq(order[4][1], "new onincoming")
	conn:write("y")
	s.wait(function () return #order > 4 end, 5, "ondrain for the new listener")
	s.eq(order[5][1], "new ondrain")
	peer:close()
	disconnected(s, new, conn)
	s.eq(old.disconnects[conn], nil, "ondisconnect of the old listener")
	s.eq(new.count("onconnect"), 0, "onconnect of the new listener")

	-- A listener without ondetach, another one without onattach; no data.
	local plain = { onincoming = function (_, bytes) table.insert(order, { bytes }) end }
	conn, peer = s.pair(recorder("old"))
	conn:setlistener(plain)
	peer:send("plain")
	s.wait(function () return order[#order][1] == "plain" end, 5, "data for the plain listener")
	local last = recorder("last")
	conn.setlistener(conn, last) -- as mod_onions calls it
	s.eq(order[#order][1], "last onattach")
	s.eq(order[#order][3], nil, "onattach's data")
	conn:close()
	disconnected(s, last, conn)

	-- As net/connect.lua does it: an outgoing connection is handed over in its onconnect.
	local peer_server = s.peer_server()
	local first = s.recorder({ onconnect = function (c)
		c:setlistener(new, "handed over")
	end })
	order = {}
	conn = s.server.addclient("127.0.0.1", peer_server.port, first, "*a")
	peer = peer_server:accept()
	peer:send("hello")
	s.wait(function () return new.data[conn] == "hello" end, 5, "data for the new listener")
	s.eq(order[1][1], "new onattach")
	s.eq(order[1][3], "handed over")
	s.eq(first.count("onconnect"), 1, "onconnect of the first listener")
	s.eq(first.count("ondetach"), 1, "ondetach of the first listener")
	s.eq(new.count("onconnect"), 0, "onconnect of the new listener")
	peer:close()
	disconnected(s, new, conn)
	s.eq(first.disconnects[conn], nil, "ondisconnect of the first listener")
end, { stock = {
	event = { "data that arrives together with the connection goes to onincoming before onconnect",
		match = "data for the new listener" },
} })

t.item(64, "listener tables changed after creation are honoured", function (s)
	local rec = s.recorder()
	local conn, peer = s.pair(rec)
	peer:send("before")
	s.wait(function () return rec.data[conn] == "before" end, 5, "data for the first function")

	local incoming, drained, reason = {}, 0, nil
	function rec.onincoming(c, data)
		s.eq(c, conn)
		table.insert(incoming, data)
	end
	peer:send("after")
	s.wait(function () return rec.data[conn] ~= "before" or #incoming > 0 end, 5, "data")
	s.eq(incoming[1], "after", "the function that replaced onincoming")

	-- Taken away, and added.
	rec.onpredrain = nil
	function rec.ondrain() drained = drained + 1 end
	conn:write("x")
	s.wait(function () return drained == 1 end, 5, "the function that replaced ondrain")
	function rec.ondisconnect(_, err) reason = { err } end
	conn:close()
	s.wait(function () return reason end, 5, "the function that replaced ondisconnect")

	-- A server's listeners, between listen() and the first connection.
	local listeners = {}
	local _, port = s.listen(listeners)
	local connected = {}
	function listeners.onconnect(c) table.insert(connected, c) end
	local other = s.peer(port)
	s.wait(function () return #connected == 1 end, 5, "an onconnect that was set after listen()")
	function listeners.onincoming(c, data) s.eq(c, connected[1]); incoming[2] = data end
	other:send("late")
	s.wait(function () return incoming[2] end, 5, "an onincoming that was set after onconnect")
	s.eq(incoming[2], "late")
end, { stock = {
	event = { "copies the functions when a connection is created", match = "the function that replaced onincoming" },
	select = { "copies the functions when a connection is created", match = "the function that replaced onincoming" },
} })

-- In a process of its own: the error comes out of loop().
local propagates = [==[
	local s = ...
	s.settings({ protect_listeners = false })
	local after
	s.start(function ()
		local conn, peer, rec = s.pair({ onincoming = function (_, data)
			if data == "raise" then
				error({ "a table, to see that it is not touched" })
			end
		end })
		peer:send("raise")
		s.wait(function () return after end, 5, "loop() to be called again")
		peer:send("fine")
		s.wait(function () return rec.data[conn]:match("fine$") end, 5, "data after the error")
		io.stdout:write("finished\n")
		io.stdout:flush()
		os.exit(0)
	end)
	local result = table.pack(pcall(s.server.loop))
	s.eq(result[1], false, "loop() raises")
	s.eq(type(result[2]), "table", "the error itself")
	s.eq(result[2][1], "a table, to see that it is not touched")
	after = true
	s.fail("the second loop() ended: "..tostring(select(2, s.loop())))
]==]

t.item(65, "listener error: logged, conn alive, others unaffected; protect_listeners=false propagates; fatal_errors closes",
function (s)
	local function raise(name)
		return function (_, data)
			if data ~= "fine" then
				error(name.." failed on purpose")
			end
		end
	end
	local function check_logged(name)
		local line = s.wait(function ()
			return s.logged("Error calling "..name..": .*"..name.." failed on purpose", "error")
		end, 5, "the log line for "..name)
		s.ok(line[2]:match("stack traceback"), "a traceback is logged for "..name)
	end
	local bystander, bystander_peer, bystander_rec = s.pair()

	local conn, peer, rec = s.pair({
		onconnect = raise("onconnect"), onincoming = raise("onincoming"), onpredrain = raise("onpredrain"),
		ondrain = raise("ondrain"), ondetach = raise("ondetach"), ondisconnect = raise("ondisconnect"),
		onreadtimeout = raise("onreadtimeout"),
	})
	check_logged("onconnect")
	peer:send("bad")
	check_logged("onincoming")
	peer:send("fine")
	s.wait(function () return rec.data[conn] == "badfine" end, 5, "data after an error")
	conn:write("reply")
	check_logged("onpredrain")
	check_logged("ondrain")
	s.eq(peer:receive_until(5), "reply", "what was written")
	s.eq(rec.disconnects[conn], nil, "the connection lives on")

	local new = s.recorder({ onattach = raise("onattach"), ondisconnect = raise("ondisconnect") })
	conn:setlistener(new)
	check_logged("ondetach")
	check_logged("onattach")
	peer:send("new")
	s.wait(function () return new.data[conn] == "new" end, 5, "data for the new listener")
	peer:close()
	check_logged("ondisconnect")
	s.sleep(0.02)
	s.eq(new.disconnects[conn].n, 1, "calls of ondisconnect")

	-- Neither do these values, which are no strings, get past it.
	for _, value in ipairs { { "a table" }, false } do
		conn, peer, rec = s.pair({ onincoming = function (_, data)
			if data == "bad" then error(value) end
		end })
		peer:send("bad")
		s.wait(function () return rec.data[conn] == "bad" end, 5, "data")
		peer:send("fine")
		s.wait(function () return rec.data[conn] == "badfine" end, 5, "data after an error that is no string")
		conn:close()
	end

	bystander_peer:send("still here?")
	s.wait(function () return bystander_rec.data[bystander] == "still here?" end, 5, "the bystander's data")
	s.eq(bystander_rec.disconnects[bystander], nil, "the bystander lives on")

	s.settings({ fatal_errors = true })
	conn, peer, rec = s.pair({ onincoming = raise("onincoming") })
	peer:send("bad")
	s.ok(peer:closed(), "fatal_errors closes the connection")
	s.ok(s.logged("Closing due to error calling onincoming: ", "error"), "fatal_errors is logged")
	s.ok(not conn:write("x") or s.stock, "write afterwards is falsy")
	s.sleep(0.02)
	s.ok(rec.count("ondisconnect") <= 1, "not more than one ondisconnect")
	bystander_peer:send("and now?")
	s.wait(function () return bystander_rec.data[bystander] == "still here?and now?" end, 5, "the bystander's data")
	s.settings({})

	local child = s.child(propagates)
	s.eq(child:wait(10), 0, "protect_listeners = false: "..child:stderr())
	s.eq(child:stdout(), "finished\n", "protect_listeners = false")
end, { logs_errors = true, stock = {
	event = { "not offered: protected listeners, the error leaves loop()",
		match = "left server%.loop%(%): .*failed on purpose" },
	select = { "not offered: protected listeners, the error leaves loop()",
		match = "left server%.loop%(%): .*failed on purpose" },
} })

t.item(66, "onerror used as message handler", function (s)
	local seen = {}
	local conn, peer, rec = s.pair({
		onincoming = function (_, data)
			if data == "bad" then error("a mistake", 0) end
		end,
		onerror = function (err)
			-- As a message handler it runs where the error was raised: the failing function is on the stack.
			table.insert(seen, { err, debug.traceback() })
			return "onerror saw "..err
		end,
	})
	peer:send("bad")
	s.wait(function () return s.logged("Error calling onincoming: onerror saw a mistake", "error") end, 5,
		"what onerror returned in the log")
	s.eq(#seen, 1, "calls of onerror")
	s.eq(seen[1][1], "a mistake", "what onerror got")
	s.ok(seen[1][2]:match("items_63_listeners"), "the traceback has the failing function")
	peer:send("fine")
	s.wait(function () return rec.data[conn] == "badfine" end, 5, "data after the error")
	s.eq(#seen, 1, "calls of onerror")

	-- For every callback, and for a full chunk as well as for a short one.
	local onerror = function (err) return "onerror saw "..err end
	conn:close()
	local names = { "onconnect", "onincoming", "onpredrain", "ondrain", "ondisconnect" }
	local overrides = { onerror = onerror }
	for _, name in ipairs(names) do
		overrides[name] = function (_, data)
			error(("%s %s"):format(name, data), 0)
		end
	end
	conn, peer, rec = s.pair(overrides, { read_size = 4 })
	peer:send("fullrun")
	s.wait(function () return rec.data[conn] == "fullrun" end, 5, "data")
	conn:write("x")
	s.wait(function () return rec.count("ondrain", conn) > 0 end, 5, "ondrain")
	conn:close()
	for _, failure in ipairs { "onconnect", "onincoming full", "onincoming run", "onpredrain", "ondrain", "ondisconnect" } do
		local name = failure:match("^%S+")
		s.wait(function () return s.logged("Error calling "..name..": onerror saw "..failure, "error") end, 5,
			"what onerror returned for "..failure)
	end

	-- The one of the listener in force.
	conn, peer, rec = s.pair()
	conn:setlistener({
		onincoming = function () error("another one", 0) end,
		onerror = function (err) return "the new onerror saw "..err end,
	})
	peer:send("x")
	s.wait(function () return s.logged("Error calling onincoming: the new onerror saw another one", "error") end, 5,
		"what the new onerror returned in the log")
end, { logs_errors = true, stock = {
	event = { "not offered: onerror, the error leaves loop()", match = "left server%.loop%(%): .*a mistake" },
	select = { "not offered: onerror, the error leaves loop()", match = "left server%.loop%(%): .*a mistake" },
} })

-- setquitting(true) ends the loop, so that this needs a process of its own.
local quitting = [==[
	local s = ...
	local idle, busy, rec, idle_peer, busy_peer
	s.start(function ()
		idle, idle_peer, rec = s.pair()
		busy, busy_peer = s.pair(rec)
		busy:write("data")
		s.server.setquitting(true)
		while true do
			busy_peer:fetch()
			s.sleep(0)
		end
	end)
	local ok, result = s.loop()
	s.ok(ok, result)
	s.eq(result, "quitting", "what loop() returns")
	for _, conn in ipairs { idle, busy } do
		s.ok(rec.disconnects[conn], "ondisconnect when quitting")
		s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect when quitting")
	end
	io.stdout:write("finished\n")
]==]

t.item(67, "ondisconnect exactly once for every way to end", function (s)
	local function dies(what, settings, overrides, action)
		s.settings(settings)
		local conn, peer, rec = s.pair(overrides)
		-- Every connection has seen some traffic; select starts its read timeout only then.
		peer:send("hello")
		s.wait(function () return rec.data[conn] == "hello" end, 5, "data")
		action(conn, peer, rec)
		disconnected(s, rec, conn, what..": ondisconnect")
		-- Whatever else might call it: late timers, the peer's reaction, another close(), garbage collection.
		peer:close()
		conn:close()
		collectgarbage()
		s.sleep(0.15)
		s.eq(rec.disconnects[conn].n, 1, what..": calls of ondisconnect")
		s.eq(rec.events[#rec.events][1], "ondisconnect", what..": the last callback")
		s.settings({})
	end
	local function nothing() end
	local function write_much(conn)
		for _ = 1, 256 do
			conn:write(("x"):rep(65536))
		end
	end
	local function closes(conn) conn:close() end

	dies("peer closes", {}, nil, function (_, peer) peer:close() end)
	dies("peer closes its half", {}, nil, function (_, peer) peer:shutdown_write() end)
	dies("RST", {}, nil, function (_, peer) peer:reset() end)
	dies("RST while writing", {}, nil, function (conn, peer)
		peer.sock:setoption("recv-buffer-size", 65536)
		write_much(conn)
		peer:reset()
	end)
	dies("close()", {}, nil, closes)
	dies("close() with data pending", {}, nil, function (conn, peer)
		write_much(conn)
		conn:close()
		s.ok(peer:receive_until(16 * 1024 * 1024), "the data")
	end)
	dies("close(), then RST", {}, nil, function (conn, peer)
		peer.sock:setoption("recv-buffer-size", 65536)
		write_much(conn)
		conn:close()
		peer:reset()
	end)
	dies("close() in onincoming", {}, { onincoming = function (conn, data)
		if data == "die" then conn:close() end
	end }, function (_, peer) peer:send("die") end)
	dies("close() in ondrain", {}, { ondrain = closes }, function (conn) conn:write("x") end)
	dies("close() in onpredrain", {}, { onpredrain = closes }, function (conn) conn:write("x") end)
	dies("close() in ondisconnect", {}, { ondisconnect = closes }, closes)
	dies("close() in ondisconnect after the peer", {}, { ondisconnect = closes }, function (_, peer) peer:close() end)
	dies("peer closes, close() in onincoming", {}, { onincoming = function (conn, data)
		if data == "die" then conn:close() end
	end }, function (_, peer) peer:send("die"); peer:close() end)
	dies("paused, peer resets", {}, nil, function (conn, peer)
		conn:pause()
		peer:reset()
		s.sleep(0.05)
		conn:resume()
	end)
	dies("write timeout", { send_timeout = 0.2 }, nil, function (conn, peer)
		peer.sock:setoption("recv-buffer-size", 65536)
		write_much(conn)
	end)

	-- Outgoing: refused, either at once or later.
	local refused = s.recorder()
	local conn = s.server.addclient("127.0.0.1", s.free_port(), refused, "*a")
	if conn then
		disconnected(s, refused, conn, "refused: ondisconnect")
		s.sleep(0.05)
		s.eq(refused.disconnects[conn].n, 1, "refused: calls of ondisconnect")
		s.eq(refused.count("onconnect"), 0, "refused: onconnect")
	else
		s.sleep(0.05)
		s.eq(#refused.events, 0, "refused: callbacks after addclient failed")
	end

	if s.is_trochee then
		dies("overflow", { max_send_buffer_size = 65536 }, nil, write_much)
		dies("overflow in onincoming", { max_send_buffer_size = 65536 }, { onincoming = function (c, data)
			if data == "die" then write_much(c) end
		end }, function (_, peer) peer:send("die") end)
	end
	dies("read timeout", { read_timeout = 0.1 }, nil, nothing)
	dies("read timeout, close() in onreadtimeout", { read_timeout = 0.1 }, { onreadtimeout = closes }, nothing)

	local child = s.child(quitting)
	s.eq(child:wait(10), 0, "quitting: "..child:stderr())
	s.eq(child:stdout(), "finished\n", "quitting")

	local one, _, rec = s.pair()
	local two = s.pair(rec)
	s.server.closeall()
	disconnected(s, rec, one, "closeall: ondisconnect of the first")
	disconnected(s, rec, two, "closeall: ondisconnect of the second")
	s.sleep(0.05)
	s.eq(rec.disconnects[one].n + rec.disconnects[two].n, 2, "closeall: calls of ondisconnect")
end, { limit = 30, stock = {
	["epoll-13"] = { "close() in ondisconnect calls it again", match = "close%(%) in ondisconnect after the peer: .*got 2" },
	event = { "close() in onreadtimeout gives a second ondisconnect", match = "onreadtimeout: calls of ondisconnect: got 2" },
	select = { "close() in onpredrain calls onpredrain, without end", match = "stack overflow" },
} })

t.item(68, "callbacks in coroutine contexts: write, close, setlistener, add_task inside a util.async runner", function (s)
	local async = require "util.async"
	local errors = {}
	local function in_runner(f)
		local state = {}
		local runner = async.runner(function (...)
			f(...)
			state.done = true
		end, { error = function (_, err) table.insert(errors, err) end })
		runner:run("go")
		return state, runner
	end
	local function check(state, what)
		s.wait(function () return state.done or errors[1] end, 5, what)
		s.eq(errors[1], nil, what..": error in the runner")
	end

	-- Everything that may call a listener from within, from a coroutine.
	for _, opportunistic in ipairs { false, true } do
		s.settings({ opportunistic_writes = opportunistic })
		local new = s.recorder()
		local conn, peer, rec = s.pair()
		check(in_runner(function ()
			s.ok(conn:write("written in a runner"), "write")
			conn:setlistener(new, "data")
			s.eq(new.count("onattach"), 1, "onattach")
			conn:pause()
			conn:resume()
			conn:close()
		end), "write, setlistener and close")
		s.eq(peer:receive_until(19), "written in a runner")
		s.ok(peer:closed(), "FIN")
		disconnected(s, new, conn)
		s.eq(new.disconnects[conn].n, 1)
		s.eq(rec.disconnects[conn], nil)
	end
	s.settings({})

	-- Listeners that themselves wait for something: the runner is suspended inside close() and setlistener().
	local order = {}
	local function waiting(name)
		return function ()
			local wait, done = async.waiter()
			table.insert(order, name.." begins")
			s.server.add_task(0.02, function () done() end)
			wait()
			table.insert(order, name.." ends")
		end
	end
	local conn, peer = s.pair()
	local rec = s.recorder({
		onattach = waiting("onattach"), ondetach = waiting("ondetach"), ondisconnect = waiting("ondisconnect"),
	})
	local last = s.recorder({ onattach = waiting("last onattach"), ondisconnect = waiting("ondisconnect") })
	check(in_runner(function ()
		conn:setlistener(rec)
		table.insert(order, "between")
		conn:setlistener(last)
		conn:close()
		table.insert(order, "end")
	end), "listeners that wait")
	s.eq(table.concat(order, ", "), "onattach begins, onattach ends, between, ondetach begins, ondetach ends, "
		.."last onattach begins, last onattach ends, ondisconnect begins, ondisconnect ends, end")
	s.ok(peer:closed(), "FIN after a listener that waited")
	s.eq(last.disconnects[conn].n, 1)

	-- A runner that is fed by onincoming, suspended while more data comes, as in mod_c2s and net/http/server.
	order = {}
	local runner
	conn, peer, rec = s.pair({
		onincoming = function (c, data)
			runner = runner or async.runner(function (item)
				local wait, done = async.waiter()
				c:pause()
				s.server.add_task(0.01, function () done() end)
				wait()
				c:resume()
				c:write(item)
			end, { error = function (_, err) table.insert(errors, err) end })
			runner:run(data)
		end,
	}, { read_size = 1 })
	peer:send("abc")
	-- Stock epoll and event leave the rest in LuaSocket's buffer, which is item 45's affair.
	local expected = (s.name == "epoll" or s.name == "event") and "a" or "abc"
	s.eq(peer:receive_until(#expected), expected, "what the runner wrote")
	s.eq(errors[1], nil, "error in the runner")
	conn:close()

	-- What was created in a coroutine outlives it.
	local function created()
		local listening, port, ticks, client_rec = nil, nil, 0, s.recorder()
		local server_rec = s.recorder({ onincoming = function (c, data) c:write(data) end })
		local thread = coroutine.wrap(function ()
			listening, port = s.listen(server_rec)
			s.server.addclient("127.0.0.1", port, client_rec, "*a")
			s.server.add_task(0.02, function ()
				ticks = ticks + 1
				return ticks < 5 and 0.01 or nil
			end)
		end)
		thread()
		return listening, port, client_rec, server_rec, function () return ticks end
	end
	local listening, port, client_rec, server_rec, ticks = created()
	collectgarbage()
	collectgarbage()
	s.wait(function () return #client_rec.conns == 1 and #server_rec.conns == 1 end, 5, "onconnect on both ends")
	client_rec.conns[1]:write("echo")
	s.wait(function () return client_rec.data[client_rec.conns[1]] == "echo" end, 5, "the echo")
	s.wait(function () return ticks() == 5 end, 5, "a repeating timer")
	local late = s.peer(port)
	s.wait(function () return #server_rec.conns == 2 end, 5, "another connection")
	late:close()
	disconnected(s, server_rec, server_rec.conns[2])
	listening:close()
end)

t.item(69, "fields of a conn visible in ondisconnect; assigned functions shadow methods; starttls=false hides STARTTLS",
function (s)
	local seen
	local conn, peer, rec = s.pair({
		onconnect = function (c)
			c._http_open_response = { id = 1 }
			c.number = 7
		end,
		ondisconnect = function (c)
			seen = { c._http_open_response, c.number, c.absent, c.later }
		end,
	})
	s.eq(conn.absent, nil, "an unknown member")
	local offered = conn.starttls
	s.ok(offered, "starttls of a fresh plain connection")
	conn.starttls = false
	s.ok(not conn.starttls, "starttls = false")
	conn.later = "set outside of callbacks"

	-- As mod_net_proxy does with the address.
	function conn.ip(self)
		s.eq(self, conn)
		return "192.0.2.1"
	end
	function conn:port() return 4711 end
	s.eq(conn:ip(), "192.0.2.1", "an assigned ip()")
	s.eq(conn:port(), 4711, "an assigned port()")

	local real_write, shadowed = conn.write, {}
	function conn:write(data)
		table.insert(shadowed, data)
		return real_write(self, "<"..data..">")
	end
	s.ok(conn:write("x"), "an assigned write()")
	s.eq(peer:receive_until(3), "<x>")
	s.eq(shadowed[1], "x")
	conn.write = nil
	if s.name ~= "select" then -- its methods are fields
		s.ok(conn:write("y"), "the method is back")
		s.eq(peer:receive_until(1), "y")
	end

	-- Other connections do not notice.
	local other = s.pair()
	s.eq(other:ip(), "127.0.0.1", "another connection's ip()")
	s.eq(type(other.starttls), type(offered), "another connection's starttls")
	s.eq(other.number, nil, "another connection's fields")

	-- Strong and weak tables, tostring, equality: the handle is one and the same value everywhere.
	local sessions = { [conn] = "session" }
	for _, event in ipairs(rec.events) do
		s.eq(sessions[event[2]], "session", event[1].."'s handle as a table key")
	end
	s.eq(type(tostring(conn)), "string")
	collectgarbage()
	peer:close()
	disconnected(s, rec, conn)
	s.eq(seen[1] and seen[1].id, 1, "a table in ondisconnect")
	s.eq(seen[2], 7, "a number in ondisconnect")
	s.eq(seen[3], nil, "an unknown member in ondisconnect")
	s.eq(seen[4], "set outside of callbacks")
	s.eq(conn._http_open_response and conn._http_open_response.id, 1, "a field after ondisconnect")
	s.eq(conn:ip(), "192.0.2.1", "an assigned method after ondisconnect")
end)
