-- util.poll, the library below server_epoll: items 98 to 100 of the contract.

local t = require "harness"

local socket = require "socket"

-- The module under test; on trochee with the poller and with wait(0) as in one version of Prosody.
local function util_poll(s, wait0)
	if s.is_trochee then
		return assert(require "trochee.util_poll".create { poller = s.poller, wait0 = wait0 or "0.12" })
	elseif s.name ~= "epoll" then
		s.fail("no util.poll below "..s.name)
	end
	return require "util.poll"
end

local function not_below(name)
	return { "not offered: only server_epoll uses util.poll", match = "^no util.poll below "..name }
end

local pack = table.pack

-- What a call gives, all of it.
local function expect(s, what, expected, ...)
	local results = pack(...)
	s.eq(results.n, expected.n, what..", number of results")
	for i = 1, expected.n do
		s.eq(results[i], expected[i], ("%s, result %d"):format(what, i))
	end
end

-- A socket that is writable and not readable, and its peer.
local function pair()
	local listening = assert(socket.bind("127.0.0.1", 0))
	local host, port = listening:getsockname()
	local near = assert(socket.connect(host, port))
	local far = assert(listening:accept())
	listening:close()
	return near, far
end

local function fd_of(sock)
	return math.tointeger(sock:getfd())
end

-- What is reported of so many descriptors: fd -> { readable, writable }
local function reports(s, state, count)
	local seen, left = {}, count
	for _ = 1, 100 * count do
		local fd, readable, writable = state:wait(0.5)
		s.eq(math.type(fd), "integer", "a descriptor, "..tostring(readable))
		if not seen[fd] then
			seen[fd] = { readable, writable }
			left = left - 1
			if left == 0 then return seen end
		end
	end
	s.fail(("%d of %d were never reported"):format(left, count))
end

t.item(98, "the module, add, set, del, and what they return and refuse", function (s)
	local poll = util_poll(s)
	s.eq(type(poll), "table")
	s.eq(type(poll.api), "string")
	s.ok(not s.poller or poll.api:find(s.poller, 1, true), "api names the poller, it says "..poll.api)
	expect(s, "constants", pack(17, 2, 24), poll.EEXIST, poll.ENOENT, poll.EMFILE)

	local state = s.ok(poll.new())
	local api, address = tostring(state):match("^util%.poll<(.+)>: (0x%x+)$")
	s.ok(address, "tostring: "..tostring(state))
	s.eq(api, poll.api, "tostring")
	s.eq(state.no_such_field, nil, "an unknown field")
	s.eq(pcall(function () state.field = 1 end), false, "an assignment works")
	if poll.api == "epoll" then
		s.eq(math.type(state:getfd()), "integer", "getfd of epoll")
	else
		s.eq(state:getfd(), nil, "getfd of "..poll.api)
	end

	local near, far = pair()
	local fd = fd_of(near)
	local unknown = pack(nil, "No such file or directory", 2)
	expect(s, "set before add", unknown, state:set(fd, true, true))
	expect(s, "del before add", unknown, state:del(fd))
	expect(s, "add", pack(true), state:add(fd, true, true))
	expect(s, "add again", pack(nil, "File exists", 17), state:add(fd, true, true))
	expect(s, "set", pack(true), state:set(fd, true, false))
	expect(s, "del", pack(true), state:del(fd))
	expect(s, "del again", unknown, state:del(fd))
	expect(s, "set after del", unknown, state:set(fd, true, true))
	for _, bad in ipairs { -1, -2 ^ 31 } do
		expect(s, "add of "..bad, pack(nil, "Bad file descriptor", 9), state:add(bad, true, true))
	end

	-- LuaSocket's getfd gives a float.
	expect(s, "add of a float", pack(true), state:add(fd + 0.0, false, true))
	expect(s, "wait for a float", pack(fd, false, true), state:wait(1))
	expect(s, "set of a string", pack(true), state:set(tostring(fd), true))
	expect(s, "del of a float", pack(true), state:del(fd + 0.0))
	s.eq(pcall(state.add, state, fd + 0.5, true, true), false, "add of a fraction works")
	s.eq(pcall(state.add, state, nil, true, true), false, "add of nil works")
	s.eq(pcall(state.add, poll, fd, true, true), false, "add on another table works")

	-- What is opened next has the lowest number that is free.
	local spare = socket.udp4()
	local regular = fd_of(spare)
	spare:close()
	local file = io.tmpfile()
	if poll.api:find("epoll", 1, true) then
		expect(s, "add of a file", pack(nil, "Operation not permitted", 1), state:add(regular, true, false))
	else
		expect(s, "add of a file", pack(true), state:add(regular, true, false))
		expect(s, "wait for a file", pack(regular, true, false), state:wait(1))
	end

	file:close()

	local many = {}
	repeat
		many[#many + 1] = socket.udp4()
		local high = fd_of(many[#many])
	until high >= 1024
	local high = fd_of(many[#many])
	if poll.api == "select" then
		expect(s, "add of 1024", pack(nil, "Bad file descriptor", 9), state:add(high, false, true))
		expect(s, "del of 1024", unknown, state:del(high))
	else
		expect(s, "add of 1024", pack(true), state:add(high, false, true))
	end

	state = poll.new()
	expect(s, "wait(0)", pack(nil, "timeout"), state:wait(0))
	local before = s.now()
	expect(s, "wait(0.05)", pack(nil, "timeout"), state:wait(0.05))
	local took = s.now() - before
	-- Not earlier than it was told to; how much later is the machine's affair.
	s.ok(took >= 0.05 and took < 2, "seconds of wait(0.05): "..took)
	for _, timeout in ipairs { -1, -0.001, 0 / 0 } do
		local ok, err = pcall(state.wait, state, timeout)
		s.eq(ok, false, "wait("..timeout..") works")
		s.ok(err:match("positive number expected"), err)
	end
	s.eq(pcall(state.wait, state), false, "wait without a timeout works")
	s.eq(pcall(state.wait, state, "soon"), false, "wait for a string works")
end, { raw = true, stock = { event = not_below "event", select = not_below "select" } })

t.item(99, "wait(0), level triggering, hang-ups, signals; del also discards buffered events", function (s)
	local poll = util_poll(s)
	local state = s.ok(poll.new())
	local near, far = pair()
	local fd = fd_of(near)

	state:add(fd, true, true)
	local at_once = (s.is_trochee or s.version == "0.12") and 0 or 0.01 -- 13.0 never looks at 0
	expect(s, "wait(0) with 0.12", pack(fd, false, true), state:wait(at_once))
	expect(s, "the same again", pack(fd, false, true), state:wait(at_once))
	state:set(fd, true, false)
	expect(s, "wait for reading", pack(nil, "timeout"), state:wait(0.01))
	far:send("x")
	expect(s, "wait for reading", pack(fd, true, false), state:wait(1))
	state:set(fd)
	expect(s, "wait for nothing", pack(nil, "timeout"), state:wait(0.01))
	if s.is_trochee then
		local other = util_poll(s, "13.0").new()
		local writable = fd_of(far)
		other:add(fd, true, false)
		other:add(writable, false, true)
		expect(s, "wait(0) with 13.0", pack(nil, "timeout"), other:wait(0))
		local batch = { [other:wait(1)] = true }
		batch[s.ok(other:wait(0), "the rest of a batch")] = true
		s.ok(batch[fd] and batch[writable], "both of a batch")
		expect(s, "wait(0) with 13.0 at the end of a batch", pack(nil, "timeout"), other:wait(0))
	end

	-- A reset, when nothing is asked for.
	near:receive(1)
	far:setoption("linger", { on = true, timeout = 0 })
	far:close()
	if poll.api == "select" or poll.api:match("^libevent") then
		expect(s, "a reset that nobody asks for", pack(nil, "timeout"), state:wait(0.05))
		state:set(fd, true, false)
	end
	expect(s, "a reset", pack(fd, true, false), state:wait(1))
	state:del(fd)

	-- More than one call of the system returns, with gaps between them.
	local socks = {}
	for i = 1, 150 do
		local a, b = pair()
		socks[fd_of(a)], socks[-i] = a, b
		s.ok(state:add(a:getfd(), i % 3 == 0, true))
	end
	for reported, flags in pairs(reports(s, state, 150)) do
		s.ok(socks[reported], "an unknown descriptor")
		s.eq(flags[1], false, "readable")
		s.eq(flags[2], true, "writable")
	end

	if s.is_trochee or s.version == "0.12" then -- 13.0 blocks those that it hooks, for signalfd(2)
		require "util.signal".signal("SIGUSR1", function () end)
		os.execute(("{ sleep 0.1; kill -USR1 %d; } &"):format(require "util.pposix".getpid()))
		expect(s, "a signal", pack(nil, "signal"), poll.new():wait(5))
	end

	-- Two are ready, and a number that one of them had is another's when its event would come.
	state = poll.new()
	local first, second = pair()
	first:send("x")
	second:send("x")
	state:add(first:getfd(), true, false)
	state:add(second:getfd(), true, false)
	local reported = state:wait(1)
	local gone = reported == first:getfd() and second or first
	local number = fd_of(gone)
	state:del(number)
	gone:close()
	local again, below = nil, {}
	repeat
		again = socket.udp4()
		table.insert(below, again)
	until fd_of(again) >= number
	s.eq(fd_of(again), number, "the number is free and taken again")
	s.ok(again:setsockname("127.0.0.1", 0))
	state:add(number, true, false)
	for _ = 1, 3 do
		s.ok(state:wait(0) ~= number, "a stale event of a descriptor that was removed")
	end
	local host, port = again:getsockname()
	socket.udp4():sendto("x", host, port)
	s.eq(reports(s, state, 2)[number][1], true, "its own event says readable")
end, {
	raw = true,
	stock = {
		epoll = {
			"del leaves buffered events, and they go to the next descriptor with that number",
			match = "^a stale event of a descriptor",
		},
		event = not_below "event",
		select = not_below "select",
	},
})

t.item(100, "Prosody's own server_epoll, unmodified, serves ten thousand descriptors on util.poll", function (s)
	util_poll(s)
	-- Of both ends, in one process.
	local connections = s.poller == "select" and 400 or 5000 -- below 1024 descriptors
	local child = s.child([[
		local s, connections = ...
		connections = math.tointeger(tonumber(connections))
		local pposix = require "util.pposix"
		local _, hard = select(2, pposix.getrlimit("NOFILE"))
		pposix.setrlimit("NOFILE", hard, hard)
		if s.is_trochee then
			package.preload["util.poll"] = function ()
				return assert(require "trochee.util_poll".create { poller = s.poller, wait0 = s.version })
			end
		end
		local server = require "net.server_epoll"
		local source = debug.getinfo(server.loop, "S").source
		assert(source:match("^@.*/net/server_epoll%.lua$"), source)
		server.set_config { tcp_backlog = 512 }

		-- It accepts one connection for each report of a listener, and on poll each look at all descriptors takes its
		-- time; so there are many listeners.
		local ports = {}
		for i = 1, 50 do
			ports[i] = s.free_port()
			assert(server.listen("127.0.0.1", ports[i], {
				onincoming = function (conn, data) conn:write(data) end;
				ondisconnect = function (_, err) error("the server lost a connection: "..tostring(err)) end;
			}))
		end
		local clients, started, answers, rounds = {}, 0, 0, 0
		local listeners = {}
		local function start()
			if started < connections then
				started = started + 1
				assert(server.addclient("127.0.0.1", ports[started % #ports + 1], listeners, "*a"))
			end
		end
		function listeners.onconnect(conn)
			table.insert(clients, conn)
			conn:write("hello")
			start()
		end
		function listeners.onincoming(conn, data)
			assert(data == "hello")
			answers = answers + 1
			if answers < connections then return end
			-- All are connected: once more, all of them at a time.
			answers, rounds = 0, rounds + 1
			if rounds == 3 then
				print(#clients)
				os.exit(0)
			end
			for _, client in ipairs(clients) do client:write("hello") end
		end
		function listeners.ondisconnect(_, err)
			error("a client lost its connection: "..tostring(err))
		end
		for _ = 1, 400 do start() end
		server.loop()
	]], connections)
	s.eq(child:wait(100), 0, "exit status, stderr: "..child:stderr():sub(-1500))
	s.eq(child:stdout(), connections.."\n", "connections")
end, { raw = true, limit = 110, stock = { event = not_below "event", select = not_below "select" } })
