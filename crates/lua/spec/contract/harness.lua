--[[
The contract suite's harness: runs one item of the contract on one backend ("subject") in a process of its own,
so that a hang, a crash or an os.exit() in one item cannot hide the result of another.

An item file only registers items and does nothing else when it is loaded:

	local t = require "harness"
	t.item(16, "add_task gives an id; …", function (s)
		…
	end, { limit = 20, stock = { event = "why stock fails" } })

The body runs as a coroutine inside the subject's own server.loop(); a repeating timer resumes it. Everything that
waits (s.sleep, s.wait, the methods of peers) yields to the loop, so that the body can play the peer of the very
connections that the loop serves. With `raw = true` the body runs outside the loop instead and calls server.loop()
itself; waiting then blocks, and s.start(f) queues a second body that the loop will run.

Options of an item:
	stock_names whether to run it also under the stock names (trochee-as-epoll, …), where settings come in otherwise; by default
	       the group loading
	limit  seconds after which the parent kills the process, which is a failure (default 20)
	raw    see above
	logs_errors  the item provokes errors in callbacks; otherwise any line logged as an error fails the item
	stock  stock subject -> the named bug for which it fails, either a string or { "the bug", match = "pattern" };
	       with `match` the failure's message has to match it. A text that starts with "not offered:" names
	       something the stock backend leaves out by design. A subject that has an entry here must fail. An entry
	       for "epoll" is one for both versions, unless "epoll-13" has its own: another bug, or false where 13.0 passes.
	skip   subject -> why it cannot be run here at all. Never used for trochee.
	elsewhere  list of the subjects on which tests/prosody shows this item, which then has no body

What a body gets, `s`:
	s.server s.name s.is_trochee s.stock s.poller   the backend's module table, "trochee-poll", true, false, "poll"
	s.subject s.version       "trochee-poll-13", "13.0"; or the same as s.name, and "0.12"
	s.timer                   util.timer as Prosody would see it on this backend
	s.settings{…}             network_settings, applied the way Prosody's net/server.lua does for this backend
	s.now()  s.cpu()          monotonic seconds; CPU seconds of this process
	s.sleep(seconds)
	s.wait(predicate, timeout, what)   the predicate's value once it is true; fails the item after timeout (5 s)
	s.eq(a, b, msg)  s.ok(v, msg)  s.fail(msg)  s.near(a, b, tolerance, msg)  s.note(text)
	                          a failed check fails the item even when the backend catches the error it raises
	s.log                     what the backend logged: array of { level, message, source }
	s.logged(pattern, level)  first such line whose message matches the Lua pattern
	s.free_port()
	s.listen(listeners, config, addr)  -> handle, port   on 127.0.0.1 unless addr is given
	s.recorder(overrides)     a listeners table that records every callback and then calls the override:
		rec.events            array of { name, conn, args…, n = number of args, at = s.now() }
		rec.conns             every conn that had onconnect, in order
		rec.data[conn]        what onincoming was given, concatenated ("" when nothing)
		rec.disconnects[conn] the errors given to ondisconnect: { n = calls, [1] = err, … }, nil when never called
		rec.count(name, conn) number of calls, conn optional
	s.peer(port, host)        a connected TCP client made of a plain LuaSocket object
	s.wrap_peer(sock)         the same methods for a LuaSocket object that the item made itself
		peer:send(data, timeout)      true once everything is sent | nil, err, bytes sent
		peer:receive_until(what, timeout)
			what = number: exactly that many bytes; string: until it was received, plain; function: until
			what(everything so far) is true. -> data | nil, "timeout" or "closed", what came
		peer:read_available()         what has arrived by now, possibly ""
		peer:closed(timeout)          true once the peer's end of the stream was seen (data stays readable) | false
		peer:shutdown_write()  peer:reset() (RST instead of FIN)  peer:close()  peer.sock
	s.peer_server(backlog)    a listening LuaSocket: .port, .ip, .sock, :accept(timeout) -> peer, :close()
	s.pair(listeners, config) -> conn, peer, rec, server handle, port. listeners: nil, overrides, or a recorder
	s.start(body, done)       (raw) queue a body to be run by the loop once that is entered; when it returns, or a
	                          check failed, done() is called, by default the end of the item
	s.loop(…)                 (raw) xpcall(server.loop, debug.traceback, …)
	s.child(source, ...)      run `source` as a chunk (s, ...) in a process of its own with this subject loaded:
		child:wait(timeout)   -> exit status as the shell has it (128 + signal) | nil, "timeout"
		child:stdout()  child:stderr()  child:kill("SIGTERM")  child.pid
	s.tmpdir()                a fresh directory, removed when the item ends
	s.read_file(name)         its content, nil when there is no such file
]]

local older = require "older_lua"

local harness = {}

local here = debug.getinfo(1, "S").source:match("^@(.*)harness%.lua$") or "./"
-- By version; 13.0 is where scripts/setup has put it
local source_dirs = {
	["0.12"] = os.getenv "PROSODY_SOURCEDIR" or "/usr/lib/prosody",
	["13.0"] = os.getenv "PROSODY_13_SOURCEDIR" or ".prosody/13.0/usr/lib/prosody",
}
local dist_dir = os.getenv "TROCHEE_DIST" or "dist/lua"

harness.here, harness.source_dir, harness.dist_dir = here, source_dirs["0.12"], dist_dir
-- By its whole path, without which it refuses
harness.takeover = (dist_dir:match("^/") and "" or require "lfs".currentdir().."/")..dist_dir.."/trochee/takeover.lua"
harness.pollers = { "epoll", "poll", "select", "libevent" }
-- Names with -13 are those of Prosody 13.0, the others of 0.12; trochee-threads-N is on epoll with so many I/O threads
harness.subjects = {
	"trochee-epoll", "trochee-poll", "trochee-select", "trochee-libevent",
	"trochee-threads-1", "trochee-threads-3",
	"trochee-as-epoll", "trochee-as-event", "trochee-as-select", "epoll", "event", "select",
	"trochee-epoll-13", "trochee-poll-13", "trochee-select-13", "trochee-libevent-13",
	"trochee-as-epoll-13", "trochee-as-event-13", "trochee-as-select-13", "epoll-13", "event-13", "select-13",
}
harness.items = {} -- number -> item
harness.groups = {
	"items_01_prosody", "items_02_names", "items_03_loading", "items_16_timers", "items_25_listen", "items_34_clients",
	"items_43_reading",
	"items_53_writing", "items_63_listeners", "items_70_tls", "items_79_certificates", "items_85_handshakes", "items_92_other",
	"items_98_util_poll", "items_101_system", "items_103_soak", "items_104_host_names", "items_110_loading", "items_113_limits",
	"items_120_faults", "items_130_objects", "items_140_proxy", "items_143_dead_peers", "items_150_ends",
	"items_152_seen", "items_165_streams",
}

-- What runs the items: another Lua in scripts/test-lua, valgrind in scripts/sanitize, under which all takes many times as long.
harness.lua = os.getenv "CONTRACT_LUA" or "lua5.4"
harness.patience = tonumber(os.getenv "CONTRACT_PATIENCE" or 1)

local step_interval = 0.002

-- "trochee-poll-13" -> "trochee-poll", "13.0"
function harness.parse(subject)
	local name = subject:match("^(.*)%-13$")
	return name or subject, name and "13.0" or "0.12"
end

-- Whether a run of everything includes it
function harness.by_default(item, subject)
	local name, version = harness.parse(subject)
	if item.elsewhere then
		return item.elsewhere[subject]
	elseif name:match("^trochee%-as%-") then
		-- Under a stock name all is as under the own one, but for how settings come in
		return item.stock_names or item.stock_names == nil and item.group == "loading" and version == "0.12"
	end
	return true
end

-- The bug for which a stock subject has to fail
function harness.bug(item, subject)
	local own = item.stock[subject]
	if own ~= nil then return own end
	return item.stock[(harness.parse(subject))]
end

function harness.item(number, title, body, options)
	if harness.items[number] then
		error(("item %d is defined twice"):format(number), 2)
	end
	local item = { number = number, title = title, body = body, limit = 20, stock = {}, skip = {} }
	for k, v in pairs(options or {}) do
		item[k] = v
	end
	for subject, bug in pairs(item.stock) do
		if type(bug) == "string" then
			item.stock[subject] = { bug }
		end
	end
	for subject in pairs(item.skip) do
		if subject:match("^trochee") then
			error(("item %d: trochee is never skipped"):format(number), 2)
		end
	end
	for _, subject in ipairs(item.elsewhere or {}) do
		item.elsewhere[subject] = true
	end
	harness.items[number] = item
	item.group = harness.loading_group
	return item
end

-- Loads every item file that exists. `partial` is for a single run, where a broken file of another group must not
-- get in the way; the whole matrix insists on all of them.
function harness.load_items(partial)
	if not package.path:find(here.."?.lua", 1, true) then
		package.path = here.."?.lua;"..package.path
	end
	package.loaded.harness = harness
	for _, group in ipairs(harness.groups) do
		harness.loading_group = group:match("^items_%d+_(.*)")
		local file = io.open(here..group..".lua")
		if file then
			file:close()
			local ok, err = pcall(dofile, here..group..".lua")
			if not ok and not partial then
				error(err, 0)
			elseif not ok then
				io.stderr:write("not loaded: ", err, "\n")
			end
		elseif not partial then
			error("missing: "..here..group..".lua", 0)
		end
	end
	return harness.items
end

-- Where the program text of a failure stands: the innermost frame that belongs to an item file.
local function position()
	for level = 3, 30 do
		local info = debug.getinfo(level, "Sl")
		if not info then break end
		local file = info.source:match("(items_[%w_]+%.lua)$")
		if file then
			return (" (%s:%d)"):format(file, info.currentline)
		end
	end
	return ""
end

local function show(v)
	if type(v) ~= "string" then
		return tostring(v)
	elseif #v > 80 then
		return ("%q… (%d bytes)"):format(v:sub(1, 60), #v)
	end
	return ("%q"):format(v)
end

local function add_prosody_to_path(version)
	local source_dir = source_dirs[version]
	harness.source_dir = source_dir
	if not package.path:find(source_dir.."/?.lua;", 1, true) then
		package.path = source_dir.."/?.lua;"..package.path
		package.cpath = source_dir.."/?.so;"..package.cpath
		if version ~= "0.12" then
			require "loader" -- as in the prosody command: each module by both of its names
		end
	end
end

-- Makes `subject` this process's net.server, as Prosody's net/server.lua would.
local function load_backend(name, version)
	add_prosody_to_path(version)
	local poller, stock_name = name:match("^trochee%-(%w+)$"), name:match("^trochee%-as%-(%w+)$")
	local io_threads = name:match("^trochee%-threads%-(%d+)$")
	if io_threads then
		poller = "epoll"
		require "util.pposix".setenv("TROCHEE_IO_THREADS", io_threads)
	end
	local module_name = "net.server_"..(stock_name or name)
	if stock_name then
		dofile(harness.takeover)
		poller = stock_name == "event" and "libevent" or stock_name
	elseif poller then
		module_name = "net.server_trochee"
		-- The library reads the choice from the environment, Lua itself cannot set it.
		require "util.pposix".setenv("TROCHEE_POLLER", poller)
		package.path = dist_dir.."/?.lua;"..package.path
		package.cpath = dist_dir.."/?.so;"..package.cpath
	end
	local server = require(module_name)
	package.loaded["net.server"] = server

	local signal = require "util.signal"
	local raw_signal = signal.signal
	if server.hook_signal then
		function signal.signal(signal_id, handler)
			if type(signal_id) == "string" then
				signal_id = signal[signal_id:upper()]
			end
			if type(signal_id) ~= "number" then
				return false, "invalid-signal"
			end
			return server.hook_signal(signal_id, handler)
		end
	else
		server.hook_signal = raw_signal
	end
	return server, poller
end

-- network_settings -> the backend, as Prosody's net/server.lua maps them.
local function settings_function(server)
	if server.cfg then
		local defaults = {}
		for k, v in pairs(server.cfg) do
			defaults[k] = v
		end
		return function (settings)
			local event_settings = {
				ACCEPT_DELAY = settings.accept_retry_interval,
				ACCEPT_QUEUE = settings.tcp_backlog,
				CLEAR_DELAY = settings.event_clear_interval,
				CONNECT_TIMEOUT = settings.connect_timeout,
				DEBUG = settings.debug,
				HANDSHAKE_TIMEOUT = settings.ssl_handshake_timeout,
				MAX_CONNECTIONS = settings.max_connections,
				MAX_HANDSHAKE_ATTEMPTS = settings.max_ssl_handshake_roundtrips,
				MAX_READ_LENGTH = settings.max_receive_buffer_size,
				MAX_SEND_LENGTH = settings.max_send_buffer_size,
				READ_TIMEOUT = settings.read_timeout,
				WRITE_TIMEOUT = settings.send_timeout,
			}
			for k, default in pairs(defaults) do
				server.cfg[k] = event_settings[k] or default
			end
		end
	elseif server.changesettings then
		local defaults = {}
		for k, v in pairs(server.getsettings()) do
			defaults[k] = v
		end
		-- It looks at its timeouts only this often; the default of 30 s would outlast any item.
		defaults.select_idle_check_interval = 0.05
		return function (settings)
			local select_settings = {}
			for k, default in pairs(defaults) do
				select_settings[k] = settings[k] or default
			end
			server.changesettings(select_settings)
		end
	end
	return server.set_config
end

local peer_methods = {}
local peer_mt = { __index = peer_methods }

-- The environment of one item on one subject.
local function new_environment(subject)
	local name, version = harness.parse(subject)
	local s = {
		subject = subject, name = name, version = version, is_trochee = name:match("^trochee%-") ~= nil, notes = {}, log = {},
	}
	s.stock = not s.is_trochee

	local failure -- the first failed check; errors raised in callbacks may be caught by the backend

	function s.fail(msg)
		msg = tostring(msg)..position()
		failure = failure or msg
		error(msg, 0)
	end
	function s.failure() return failure end

	function s.ok(v, msg)
		if not v then
			s.fail(("%s: got %s"):format(msg or "expected a true value", show(v)))
		end
		return v
	end

	function s.eq(a, b, msg)
		if a ~= b then
			s.fail(("%s: got %s, expected %s"):format(msg or "not equal", show(a), show(b)))
		end
		return a
	end

	function s.near(a, b, tolerance, msg)
		if type(a) ~= "number" or math.abs(a - b) > tolerance then
			s.fail(("%s: got %s, expected %s ± %s"):format(msg or "too far off", show(a), show(b), show(tolerance)))
		end
		return a
	end

	function s.note(text)
		table.insert(s.notes, text)
	end

	s.server, s.poller = load_backend(name, version)
	s.settings = settings_function(s.server)
	s.timer = require "util.timer"
	if name == "select" then
		s.settings({}) -- for select_idle_check_interval
	end

	require "util.logger".add_simple_sink(function (source, level, message)
		if #s.log < 20000 then
			table.insert(s.log, { level, message, source })
		end
		if os.getenv "CONTRACT_VERBOSE" then
			io.stderr:write(("%s %s: %s\n"):format(source, level, message))
		end
	end)

	function s.logged(pattern, level)
		for _, line in ipairs(s.log) do
			if (not level or line[1] == level) and line[2]:match(pattern) then
				return line
			end
		end
	end

	local socket = require "socket"
	s.now = require "util.time".monotonic
	s.cpu = os.clock
	s.started = s.now()

	-- Waiting. `body_thread` is the coroutine that the step timer resumes.
	local body_thread, looping

	local function pause()
		if body_thread and older.running() == body_thread then
			coroutine.yield()
		elseif looping then
			s.fail("s.wait, s.sleep and peers cannot wait in a callback")
		else
			socket.sleep(step_interval)
		end
	end

	function s.loop(...)
		looping = true
		local result = table.pack(xpcall(s.server.loop, debug.traceback, ...))
		looping = false
		return table.unpack(result, 1, result.n)
	end

	function s.wait(predicate, timeout, what)
		local deadline = s.now() + (timeout or 5) * harness.patience
		while true do
			local value = predicate()
			if value then return value end
			if s.now() >= deadline then
				s.fail(("waited %g s in vain for %s"):format(timeout or 5, what or "a condition"))
			end
			pause()
		end
	end

	function s.sleep(seconds)
		local deadline = s.now() + seconds
		repeat pause() until s.now() >= deadline
	end

	-- Queues `body` to be stepped by the loop. When it returns, raises, or a check failed, `done()` is called; without
	-- `done` that is the end of the item.
	function s.start(body, done)
		local thread
		thread = coroutine.create(function ()
			local ok, err = older.yielding_xpcall(body, function (err)
				return failure and err or debug.traceback(tostring(err), 2)
			end, s)
			if not ok then error(err, 0) end
		end)
		body_thread = thread
		s.server.add_task(step_interval, function ()
			if not failure then
				local ok, err = coroutine.resume(thread)
				if not ok then
					failure = failure or tostring(err)
				end
			end
			if failure or coroutine.status(thread) == "dead" then
				body_thread = nil
				if done then
					done()
				else
					harness.finish(s)
				end
				return nil
			end
			return step_interval
		end)
	end

	-- A LuaSocket object that is collected closes its descriptor; an item that drops a peer does not mean that.
	local kept = {}

	-- Reserved as long as the item runs, by a socket that is bound to it and never listens. A backend can have it all the same, since
	-- both allow it to be used again; no connection and no other item is given it.
	function s.free_port(addr)
		local sock = addr and addr:find(":", 1, true) and socket.tcp6() or socket.tcp4()
		assert(sock:bind(addr or "127.0.0.1", 0))
		-- Only now: before, it would have allowed a port that another item has reserved.
		assert(sock:setoption("reuseaddr", true))
		kept[sock] = true
		local _, port = sock:getsockname()
		return math.tointeger(tonumber(port))
	end

	function s.listen(listeners, config, addr)
		local port = s.free_port(addr)
		local handle, err = s.server.listen(addr or "127.0.0.1", port, listeners, config)
		if not handle then
			s.fail("listen failed: "..tostring(err))
		end
		return handle, port
	end

	function s.recorder(overrides)
		overrides = overrides or {}
		local rec = { events = {}, conns = {}, disconnects = {}, overrides = overrides }
		local chunks = {}
		rec.data = setmetatable({}, { __index = function (_, conn)
			local list = chunks[conn]
			if not list then return "" end
			local all = table.concat(list)
			chunks[conn] = { all }
			return all
		end })
		local function record(name, conn, ...)
			table.insert(rec.events, { name, conn, n = select("#", ...), at = s.now(), ... })
		end
		for _, name in ipairs {
			"onconnect", "onincoming", "ondisconnect", "onreadtimeout", "onpredrain", "ondrain", "onstatus",
			"onattach", "ondetach", "onstarttls", "ontimeout",
		} do
			rec[name] = function (conn, ...)
				record(name, conn, ...)
				if name == "onconnect" then
					table.insert(rec.conns, conn)
				elseif name == "onincoming" then
					local list = chunks[conn] or {}
					chunks[conn] = list
					table.insert(list, (...))
				elseif name == "ondisconnect" then
					local list = rec.disconnects[conn] or { n = 0 }
					rec.disconnects[conn] = list
					list.n = list.n + 1
					list[list.n] = (...)
				end
				local override = overrides[name]
				if override then
					return override(conn, ...)
				end
			end
		end
		rec.onerror = overrides.onerror
		function rec.count(name, conn)
			local n = 0
			for _, event in ipairs(rec.events) do
				if event[1] == name and (not conn or event[2] == conn) then
					n = n + 1
				end
			end
			return n
		end
		return rec
	end

	function s.wrap_peer(sock)
		sock:settimeout(0)
		local peer = setmetatable({ sock = sock, s = s, pause = pause, buffer = {}, kept = kept }, peer_mt)
		kept[peer] = true
		return peer
	end

	function s.peer(port, host)
		host = host or "127.0.0.1"
		local sock = host:find(":", 1, true) and socket.tcp6() or socket.tcp4()
		sock:settimeout(0)
		local ok, err = sock:connect(host, port)
		if not ok and err ~= "timeout" then
			s.fail(("peer cannot connect to %s port %s: %s"):format(host, port, err))
		end
		-- Writable and with a peer name means connected; refused connections get no peer name.
		s.wait(function ()
			local _, writable = socket.select(nil, { sock }, 0)
			return writable and writable[sock]
		end, 5, "the peer's connect")
		if not sock:getpeername() then
			s.fail(("peer's connect to %s port %s was refused"):format(host, port))
		end
		return s.wrap_peer(sock)
	end

	function s.peer_server(backlog)
		local sock = assert(socket.bind("127.0.0.1", 0, backlog or 32))
		sock:settimeout(0)
		local ip, port = sock:getsockname()
		local listening = { sock = sock, ip = ip, port = math.tointeger(tonumber(port)) }
		kept[listening] = true
		function listening:accept(timeout)
			return s.wrap_peer(s.wait(function () return self.sock:accept() end, timeout, "an incoming connection"))
		end
		function listening:close()
			self.sock:close()
		end
		return listening
	end

	function s.pair(listeners, config)
		local rec = listeners
		if not (rec and rec.events and rec.conns) then
			rec = s.recorder(listeners)
		end
		local known = #rec.conns
		local handle, port = s.listen(rec, config)
		local peer = s.peer(port)
		local conn = s.wait(function () return rec.conns[known + 1] end, 5, "onconnect")
		return conn, peer, rec, handle, port
	end

	-- Children and files

	local directories = {}
	function s.tmpdir()
		local dir = os.tmpname()
		os.remove(dir)
		assert(os.execute(("mkdir -m 700 '%s'"):format(dir)))
		table.insert(directories, dir)
		return dir
	end
	function s.cleanup()
		for _, dir in ipairs(directories) do
			os.execute(("rm -rf '%s'"):format(dir))
		end
	end

	function s.read_file(name)
		local file = io.open(name)
		if not file then return end
		local text = file:read("*a")
		file:close()
		return text
	end

	function s.child(source, ...)
		local dir = s.tmpdir()
		local file = assert(io.open(dir.."/chunk.lua", "w"))
		file:write(source)
		file:close()
		local quoted = {}
		for i, arg in ipairs { ... } do
			quoted[i] = ("'%s'"):format(tostring(arg):gsub("'", "'\\''"))
		end
		-- The shell in between tells a signal from an exit status, and nothing here has to block on the child.
		os.execute(([[( %s '%srun_item.lua' --child '%s' '%s/chunk.lua' %s >'%s/stdout' 2>'%s/stderr' </dev/null &
			echo $! >'%s/pid'; wait $!; echo $? >'%s/status.new'; mv '%s/status.new' '%s/status' ) 2>/dev/null &]]):format(
			harness.lua, here, subject, dir, table.concat(quoted, " "), dir, dir, dir, dir, dir, dir))
		local child = {}
		function child:wait(timeout)
			local deadline = s.now() + (timeout or 10) * harness.patience
			repeat
				local status = s.read_file(dir.."/status")
				if status then
					return math.tointeger(tonumber(status))
				end
				pause()
			until s.now() > deadline
			return nil, "timeout"
		end
		function child:stdout() return s.read_file(dir.."/stdout") or "" end
		function child:stderr() return s.read_file(dir.."/stderr") or "" end
		child.pid = s.wait(function () return tonumber((s.read_file(dir.."/pid") or ""):match("%d+\n")) end, 5, "a child's pid")
		function child:kill(signal_name)
			local signal = require "util.signal"
			return signal.kill(self.pid, signal[signal_name])
		end
		return child
	end

	return s
end

-- Peers

function peer_methods:send(data, timeout)
	local deadline = self.s.now() + (timeout or 10) * harness.patience
	local sent = 0
	while sent < #data do
		local last, err, partial = self.sock:send(data, sent + 1)
		sent = last or partial or sent
		if not last then
			if err ~= "timeout" then return nil, err, sent end
			if self.s.now() > deadline then return nil, "timeout", sent end
			self.pause()
		end
	end
	return true
end

-- Fetches what has arrived into the buffer.
function peer_methods:fetch()
	if self.eof then return end
	local data, err, partial = self.sock:receive("*a")
	data = data or partial
	if data and data ~= "" then
		table.insert(self.buffer, data)
	end
	-- "*a" also succeeds at the end of the stream, and then only the next call says "closed".
	if err == nil then
		local _, again = self.sock:receive(0)
		err = again
	end
	if err and err ~= "timeout" then
		self.eof = err
	end
end

function peer_methods:buffered()
	local all = table.concat(self.buffer)
	self.buffer = { all }
	return all
end

function peer_methods:read_available()
	self:fetch()
	local data = self:buffered()
	self.buffer = {}
	return data
end

function peer_methods:receive_until(what, timeout)
	local deadline = self.s.now() + (timeout or 5) * harness.patience
	local length = 0
	while true do
		self:fetch()
		if type(what) == "number" then
			length = 0
			for _, chunk in ipairs(self.buffer) do length = length + #chunk end
			if length >= what then
				local all = self:buffered()
				self.buffer = { all:sub(what + 1) }
				return all:sub(1, what)
			end
		else
			local all = self:buffered()
			local done
			if type(what) == "string" then
				done = all:find(what, 1, true)
			else
				done = what(all)
			end
			if done then
				self.buffer = {}
				return all
			end
		end
		if self.eof then
			return nil, "closed", self:read_available()
		elseif self.s.now() > deadline then
			return nil, "timeout", self:read_available()
		end
		self.pause()
	end
end

function peer_methods:closed(timeout)
	local deadline = self.s.now() + (timeout or 5) * harness.patience
	while true do
		self:fetch()
		if self.eof then return true end
		if self.s.now() > deadline then return false end
		self.pause()
	end
end

function peer_methods:shutdown_write()
	return self.sock:shutdown("send")
end

function peer_methods:reset()
	self.sock:setoption("linger", { on = true, timeout = 0 })
	self.sock:close()
end

function peer_methods:close()
	self.sock:close()
	self.kept[self] = nil
end

-- Running

local current
local json -- Prosody's; loaded before the item runs, which may leave no descriptor to load it with

function harness.finish(s, skipped)
	local item = current
	local result = { item = item.number, title = item.title, group = item.group, subject = s.subject, notes = s.notes,
		unloadable = s.unloadable, seconds = s.started and s.now() - s.started }
	local failure = s.failure and s.failure()
	if skipped then
		result.status, result.message = "skip", skipped
	else
		if not failure and not item.logs_errors then
			for _, line in ipairs(s.log) do
				if line[1] == "error" then
					failure = "the backend logged an error: "..line[2]
					break
				end
			end
		end
		result.status, result.message = failure and "fail" or "pass", failure or ""
	end
	-- Lua errors may quote bytes that are no UTF-8.
	result.message = result.message:gsub("[%c\127-\255]", function (c)
		return (c == "\t" or c == "\n") and c or utf8.len(result.message) and c:byte() > 127 and c or "?"
	end)
	if s.cleanup then s.cleanup() end
	io.stdout:write(json.encode(result), "\n")
	io.stdout:flush()
	os.exit(result.status ~= "fail")
end

function harness.run(subject, number)
	harness.load_items(true)
	io.stdout:setvbuf("no")
	local item = harness.items[number]
	if not item then
		error(("there is no item %s"):format(number), 0)
	end
	if item.elsewhere then
		error(("item %d is shown by tests/prosody"):format(number), 0)
	end
	current = item
	add_prosody_to_path(select(2, harness.parse(subject)))
	json = require "util.json"
	local ok, s = pcall(new_environment, subject)
	if not ok then
		local message = "the backend does not load: "..tostring(s)
		return harness.finish({
			subject = subject, log = {}, notes = {}, unloadable = true, failure = function () return message end,
		})
	end
	if item.skip[subject] then
		return harness.finish(s, item.skip[subject])
	end
	local function complain(err)
		if not s.failure() then
			pcall(s.fail, err)
		end
		harness.finish(s)
	end
	if item.raw then
		local done, err = xpcall(item.body, function (err)
			return s.failure() and err or debug.traceback(tostring(err), 2)
		end, s)
		if not done then complain(err) end
		harness.finish(s)
	end
	s.start(item.body, function () harness.finish(s) end)
	local looped, err = s.loop()
	if not looped then
		complain("an error left server.loop(): "..tostring(err))
	end
	complain("server.loop() returned "..tostring(err).." before the item was done")
end

-- A chunk of s.child(): no result line, the exit status is the chunk's own affair.
function harness.run_child(subject, file, ...)
	local s = new_environment(subject)
	function harness.finish(failed)
		if failed.failure() then
			io.stderr:write(failed.failure(), "\n")
		end
		os.exit(failed.failure() and 70 or 0)
	end
	local chunk = assert(loadfile(file))
	chunk(s, ...)
	if s.failure() then
		harness.finish(s)
	end
end

return harness
