--[[
What choosing a poller means in Lua beyond the contract: Prosody's own spec of util.poll on each of them, the environment,
what is missing, and forks. Every case runs in a process of its own.

	busted crates/lua/spec/util_poll_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"
local quoted, run, paths, lua, source_dir = process.quoted, process.run, process.paths, process.lua, process.source_dir

local pollers = { "epoll", "poll", "select", "libevent" }

-- The folder of Prosody's source; nil and why there is none.
local function prosody_source(version)
	local said, status = run("scripts/prosody-source "..version)
	if status ~= 0 then
		return nil, said:match("([^\n]*)\n*$")
	end
	return said:match("([^\n]*)\n*$")
end

-- A test that cannot run here says so; where none may be left out, it fails.
local function skip(why)
	if os.getenv "TROCHEE_NO_SKIPS" or os.getenv "CI" then
		error("SKIP is not allowed here: "..why, 0)
	end
	pending("SKIP: "..why)
end

describe("Prosody's own spec of util.poll", function ()
	local source, why
	setup(function ()
		-- That of 0.12 does no more than load it.
		source, why = prosody_source "13.0"
	end)

	for _, poller in ipairs(pollers) do
		it("passes on "..poller, function ()
			if not source then return skip(why) end
			local init = paths()..([[
				local function load() return assert(require "trochee.util_poll".create { poller = "%s" }) end
				package.preload["util.poll"] = load
				package.preload["prosody.util.poll"] = load
			]]):format(poller)
			-- It expects of its standard output that it is writable, which popen's is.
			local said, status = run(([[LUA_INIT=%s lua5.4 "$(command -v busted)" -o TAP %s/spec/util_poll_spec.lua]]):format(
				quoted(init), source))
			assert.equal(0, status, said)
			local passed = select(2, ("\n"..said):gsub("\nok ", ""))
			assert.equal(3, passed, said)
		end)
	end
end)

-- The contract has this for the version that is installed.
describe("Prosody 13.0's own server_epoll, unmodified", function ()
	for _, poller in ipairs(pollers) do
		local connections = poller == "select" and 400 or 5000 -- below 1024 descriptors
		it(("serves %d connections, both ends, on %s"):format(connections, poller), function ()
			local source, why = prosody_source "13.0"
			if not source then return skip(why) end
			-- Its modules in C are those of the installed version.
			local said, status = lua(([[
				require "loader"
				local _, hard = select(2, require "util.pposix".getrlimit("NOFILE"))
				require "util.pposix".setrlimit("NOFILE", hard, hard)
				local function load() return assert(require "trochee.util_poll".create { poller = "%s" }) end
				package.preload["util.poll"], package.preload["prosody.util.poll"] = load, load
				local server, socket = require "prosody.net.server_epoll", require "socket"
				local ports, started, answers, connections = {}, 0, 0, %d
				for i = 1, 50 do
					local free = socket.bind("127.0.0.1", 0)
					local _, port = free:getsockname()
					ports[i] = math.tointeger(tonumber(port))
					free:close()
					assert(server.listen("127.0.0.1", ports[i], { onincoming = function (conn, data) conn:write(data) end }))
				end
				local listeners = {}
				local function start()
					if started < connections then
						started = started + 1
						assert(server.addclient("127.0.0.1", ports[started %% #ports + 1], listeners, "*a"))
					end
				end
				function listeners.onconnect(conn)
					conn:write("hello")
					start()
				end
				function listeners.onincoming()
					answers = answers + 1
					if answers == connections then
						print(debug.getinfo(server.loop, "S").source, answers)
						os.exit(0)
					end
				end
				for _ = 1, 400 do start() end
				server.loop()
			]]):format(poller, connections), "timeout 100", source)
			assert.equal(0, status, said)
			assert.equal(("@%s/net/server_epoll.lua\t%d\n"):format(source, connections), said)
		end)
	end
end)

describe("trochee.util_poll", function ()
	it("is a util.poll itself, on the poller of the environment", function ()
		for _, poller in ipairs(pollers) do
			local said, status = lua([[
				local poll = require "trochee.util_poll"
				local state = poll.new()
				print(poll.api, state:add(1, false, true), state:wait(1))
			]], "TROCHEE_POLLER="..poller)
			assert.equal(0, status, said)
			assert.equal(poller, said:match("^(%w+)[^\t]*\ttrue\t1\tfalse\ttrue\n$"), said)
		end
	end)

	it("names a poller that cannot be had, and works without it", function ()
		local said, status = lua([[print(require "trochee.util_poll".api)]], "TROCHEE_POLLER=kqueue")
		assert.equal(0, status, said)
		assert.truthy(said:match("TROCHEE_POLLER = \"kqueue\": unknown poller \"kqueue\".*; using another"), said)
		assert.equal("epoll", said:match("(%w+)\n$"), said)
		said = lua [[print(require "trochee.util_poll".create { poller = "kqueue" })]]
		assert.truthy(said:match("^nil\tunknown poller \"kqueue\""), said)
		said = lua [[print(pcall(require "trochee.util_poll".create, { wait0 = 12 }))]]
		assert.truthy(said:match("^false\twait0 must be \"0.12\" or \"13.0\", not 12"), said)
	end)

	it("has the wait(0) of the Prosody that it is in, unless it is told", function ()
		local program = [[
			local function try(options)
				local state = require "trochee.util_poll".create(options).new()
				state:add(1, false, true)
				return state:wait(0)
			end
			print((try {}), (try { wait0 = "0.12" }), (try { wait0 = "13.0" }))
		]]
		assert.equal("1\t1\tnil\n", (lua(program, nil, source_dir)))
		local source, why = prosody_source "13.0"
		if not source then return skip(why) end
		assert.equal("nil\t1\tnil\n", (lua(program, nil, source)))
	end)

	for _, poller in ipairs(pollers) do
		it("keeps a forked child apart from its parent, on "..poller, function ()
			local said, status = lua(([[
				local pposix, socket = require "util.pposix", require "socket"
				local state = require "trochee.util_poll".create { poller = "%s", wait0 = "0.12" }.new()
				local near, far = socket.udp4(), socket.udp4()
				near:setsockname("127.0.0.1", 0)
				far:setsockname("127.0.0.1", 0)
				assert(state:add(near:getfd(), true, false) and state:add(far:getfd(), false, true))
				local host, port = near:getsockname()
				local ok, pid = pposix.daemonize()
				assert(ok, pid)
				if not pid or pid == 0 then
					-- What was added before is the child's as well; what it removes is not lost to the parent.
					local report = table.concat({
						tostring(state:wait(5) == far:getfd()),
						tostring(state:del(near:getfd())), tostring(state:del(far:getfd())),
						tostring(select(2, state:wait(0.01))),
					}, " ")
					state = nil
					collectgarbage()
					far:sendto(report, host, port)
					os.exit(0, true)
				end
				assert(state:set(far:getfd(), false, false))
				print(state:wait(5) == near:getfd(), near:receive())
				state:set(far:getfd(), false, true)
				print(state:wait(5) == far:getfd())
			]]):format(poller), nil, source_dir)
			assert.equal(0, status, said)
			assert.equal("true\ttrue true true timeout\ntrue\n", said)
		end)
	end
end)

describe("a backend in the place of Prosody's", function ()
	local program = [[
		require "util.logger".add_simple_sink(function (_, level, message) print(level, message) end, { "info", "error" })
		require "trochee.stock.event"
	]]
	local function said(variable)
		return (lua(program, "TROCHEE_POLLER="..variable, source_dir))
	end

	it("says by whom the poller was chosen", function ()
		assert.truthy(said "":match('^info\tThe backend "event" is trochee [%d.]+\n$'), said "")
		for _, poller in ipairs { "select", "libevent", "auto" } do
			local line = '^info\tThe backend "event" is trochee [%d.]+, with the poller of TROCHEE_POLLER: '..poller.."\n$"
			assert.truthy(said(poller):match(line), said(poller))
		end
	end)

	it("does not say so of a poller that cannot be had", function ()
		local text = said "kqueue"
		assert.truthy(text:match('^error\tTROCHEE_POLLER = "kqueue": unknown poller "kqueue".*; keeping epoll\n'), text)
		assert.truthy(text:match('\ninfo\tThe backend "event" is trochee [%d.]+\n$'), text)
	end)
end)

describe("net.server_trochee on libevent", function ()
	local program = [[
		local server = require "net.server_trochee"
		server.set_config { poller = %s }
		local port
		for try = 20000, 20100 do
			if server.listen("127.0.0.1", try, {
				onincoming = function (conn, data) conn:write(data:upper()) end;
			}) then
				port = try
				break
			end
		end
		server.addclient("127.0.0.1", port, {
			onconnect = function (conn) conn:write("served") end;
			onincoming = function (_, data) print(data, server.get_backend()) os.exit(0) end;
		}, "*a")
		server.loop()
	]]

	it("says what libevent picked", function ()
		local setting = program:format '"libevent"'
		assert.equal("SERVED\ttrochee libevent epoll\n", (lua(setting)))
		assert.equal("SERVED\ttrochee libevent poll\n", (lua(setting, "EVENT_NOEPOLL=1")))
		assert.equal("SERVED\ttrochee libevent epoll\n", (lua(program:format "nil", "TROCHEE_POLLER=libevent")))
	end)

	it("falls back to epoll where the library is missing, and says so", function ()
		-- The dynamic linker looks here first, and what it finds is no library.
		local empty = os.tmpname()
		os.remove(empty)
		assert(os.execute(("mkdir %s && touch %s/libevent_core-2.1.so.7 %s/libevent-2.1.so.7"):format(empty, empty, empty)))
		finally(function () os.execute("rm -r "..empty) end)
		local said = lua(program:format '"libevent"', "LD_LIBRARY_PATH="..empty)
		assert.truthy(said:match("libevent not found, falling back to epoll"), said)
		assert.truthy(said:match("install libevent%-core%-2%.1%-7"), said)
		assert.truthy(said:match("SERVED\ttrochee epoll\n$"), said)
	end)
end)
