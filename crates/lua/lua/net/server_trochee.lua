-- trochee as a network backend of Prosody: network_backend = "trochee".
--
-- The loop is here, in Lua. The core hands out one event at a time, and nothing of the core is on the stack when a callback
-- runs. So a callback may yield, raise, close any connection, run the loop, or leave the process.

local state = require "trochee.state";
local timers = require "trochee.timers";
local handle = require "trochee.handle";
local watch = require "trochee.watch";
local tls = require "trochee.tls.handle";
local collector = require "trochee.collector";
local ends = require "trochee.ends";
local recent = require "trochee.recent";
local bans = require "trochee.bans";
local slow = require "trochee.slow";
local trace = require "trochee.trace";
local inherited = require "trochee.activation";
local chosen_read_size = require "trochee.read_size";
local tls_builder = require "trochee.tls.builder";

require "trochee.prosody";

local core, events, handles = state.core, state.events, state.handles;
local settings, log = state.settings, state.log;
local emit, finish = handle.emit, handle.finish;
local ipairs, next, pairs, pcall, type, xpcall = ipairs, next, pairs, pcall, type, xpcall;
local getinfo, traceback = debug.getinfo, debug.traceback;

--- Servers

-- Whether the context that every connection will need can be used. One without tls_direct is for those that call starttls()
local function check_tls(config)
	if config and config.tls_direct then
		return tls.context(config.tls_ctx);
	end
	return true;
end

local function listen(addr, port, listeners, config)
	local ok, err = check_tls(config);
	if not ok then
		return nil, err;
	end
	local fd, read_size = inherited(addr, port), chosen_read_size(config and config.read_size, listeners);
	local key, err; -- luacheck: ignore 411/err
	if fd then
		key, err = core.listen_on(fd, read_size);
	else
		key, err = core.listen(addr, port, read_size);
	end
	if not key then
		return nil, err;
	end
	local server = handle.new_server(key, addr, port, listeners, config);
	log("debug", "Server %s created", server);
	return server;
end

local function addserver(addr, port, listeners, read_size, tls_ctx)
	return listen(addr, port, listeners, {
		read_size = read_size;
		tls_ctx = tls_ctx;
		tls_direct = tls_ctx and true or false;
	});
end

-- The number of a LuaSocket object
local function descriptor(sock)
	if (type(sock) == "userdata" or type(sock) == "table") and sock.getfd then
		return sock:getfd();
	end
	return nil, "a socket must be an object with getfd, not "..type(sock);
end

-- Takes over a LuaSocket object that listens. The core has a copy of the descriptor, and the object is closed here. If its owner
-- closes it again, no other descriptor is closed that has got the number meanwhile
local function wrapserver(sock, addr, port, listeners, config)
	local ok, err = check_tls(config);
	if not ok then
		return nil, err;
	end
	local fd, err = descriptor(sock); -- luacheck: ignore 411/err
	if not fd then
		return nil, err;
	end
	local key, err = core.listen_on(fd, config and config.read_size); -- luacheck: ignore 411/err
	if not key then
		return nil, err;
	end
	sock:close();
	local server = handle.new_server(key, addr, port, listeners, config);
	log("debug", "Server %s created", server);
	return server;
end

--- Clients

-- With a TLS context, onconnect waits for the handshake. false is no context. Returns nil and why if it cannot be used
local function new_client(key, addr, port, listeners, read_size, tls_ctx, extra)
	local client = handle.new(key, nil, listeners, read_size, extra);
	-- The system knows the peer only once the connection is established
	if not client.peername then
		client.peername, client.peerport = addr, port;
	end
	if tls_ctx then
		local ok, err = tls.begin(client, tls_ctx);
		if not ok then
			client:destroy();
			return nil, err;
		end
	end
	log("debug", "Client %s created: %s", client, client.id);
	return client;
end

-- A LuaSocket object, connected or connecting, becomes a handle: as in wrapserver. A UDP object stays open until the handle is
-- closed, because net.adns goes on sending through it
local function wrapclient(sock, addr, port, listeners, read_size, tls_ctx, extra)
	local fd, err = descriptor(sock);
	if not fd then
		return nil, err;
	end
	local is_datagram = core.is_datagram(fd);
	local key, err = core.adopt(fd, read_size); -- luacheck: ignore 411/err
	if not key then
		return nil, err;
	end
	local client, err = new_client(key, addr, port, listeners, read_size, tls_ctx, extra); -- luacheck: ignore 411/err
	if not client then
		return nil, err;
	end
	if is_datagram then
		client._wrapped = sock;
		-- LuaSocket does not know yet that the descriptor no longer blocks
		pcall(sock.settimeout, sock, 0);
	else
		sock:close();
	end
	return client;
end

-- The names of LuaSocket's constructors: family, datagrams
local socket_types = {
	tcp = { nil, false }, tcp4 = { 4, false }, tcp6 = { 6, false };
	udp = { nil, true }, udp4 = { 4, true }, udp6 = { 6, true };
};

local function addclient(addr, port, listeners, read_size, tls_ctx, typ, extra)
	if not typ then
		if not core.is_ip(addr) then
			return nil, "invalid-ip";
		end
		typ = "tcp";
	end
	local socket_type = socket_types[typ];
	if not socket_type then
		return nil, "invalid socket type";
	end
	local key, err = core.connect(addr, port, socket_type[1], socket_type[2], read_size);
	if not key then
		return nil, err;
	end
	local client, err = new_client(key, addr, port, listeners, read_size, tls_ctx, extra); -- luacheck: ignore 411/err
	if not client then
		return nil, err;
	end
	return client, client:socket();
end

-- Passes on what arrives at one connection to the other, as fast as the other takes it
local function link(from, to, read_size)
	from:debug("Linking to %s", to.id);
	function from:onincoming(data)
		self:pause();
		to:write(data);
	end
	function to:ondrain() -- luacheck: ignore 212/self
		from:resume();
	end
	from:set_mode(read_size);
	-- Nobody sees the pieces: mod_proxy65's 4096 bytes are those of the first
	core.set_read_size(from[1], read_size, true);
	from:set(true, nil);
	to:set(nil, true);
	from._linked, to._linked = to, from;
end

-- Of two that are linked one was cut off: to the peer of the other it must not look complete, so close() will be a reset there
local function cut_off(conn)
	if conn._linked then
		core.set_abortive(conn._linked[1], true);
	end
end

--- The loop

local dispatch = {};

dispatch[events.ACCEPTED] = function (key, listener)
	local server = handles[listener];
	local banned = bans.any() and bans.refuses((core.names(key)));
	if not server or banned then
		core.destroy(key);
		return;
	end
	local client = handle.new(key, server, server.listeners);
	log("debug", "New connection %s on server %s: %s", client, server, client.id);
	if server.tls_direct then
		tls.accept(client);
	else
		emit(client, "onconnect");
	end
end

dispatch[events.CONNECTED] = function (key)
	local conn = handles[key];
	if conn and not conn._closing then
		conn:updatenames();
		log("debug", "Connected (%s): %s", conn, conn.id);
		emit(conn, "onconnect");
	end
end

dispatch[events.PREDRAIN] = function (key)
	local conn = handles[key];
	if conn then
		emit(conn, "onpredrain");
	end
end

dispatch[events.DRAIN] = function (key)
	local conn = handles[key];
	if conn then
		handle.call(conn, "ondrain", conn.ondrain, conn);
	end
end

dispatch[events.READ_TIMEOUT] = function (key)
	local conn = handles[key];
	if conn and not emit(conn, "onreadtimeout") and conn[1] then
		cut_off(conn);
		ends.told(conn, "read timeout");
		core.destroy(key);
		finish(conn, "read timeout");
	end
end

local quitting = nil;

dispatch[events.CLOSED] = function (key, reason, is_cut_off)
	local conn = handles[key];
	if not conn then
		return;
	end
	if reason and reason ~= "closed" then
		recent.add(("%s: %s"):format(conn, reason));
	end
	if is_cut_off then
		cut_off(conn);
	end
	ends.told(conn, reason, is_cut_off);
	if reason then
		finish(conn, reason);
	else
		finish(conn);
	end
	if quitting and next(handles) == nil then
		-- It may have been the last one, and this turn may not have waited yet
		core.begin_turn(0);
	end
end

dispatch[events.CLIENT_HELLO] = tls.on_client_hello;
dispatch[events.SECURED] = tls.on_secured;
dispatch[events.READY] = watch.ready;
dispatch[events.SIGNAL] = watch.signalled;
dispatch[events.TIMER] = timers.fire;

dispatch[events.NOTICE] = function (_, level, text)
	recent.add(text);
	log(level, "%s", text);
end

-- Every close() may run a callback that opens or closes others
local function for_all(method)
	local all = {};
	for _, conn in pairs(handles) do
		all[#all+1] = conn;
	end
	for _, conn in ipairs(all) do
		if conn[1] then
			conn[method](conn);
		end
	end
end

local function closeall()
	for_all("close");
end

-- The number itself stands below, because Lua compares it at a fourth of what the comparison with a variable costs
assert(events.DATA == 1);

local next_event = core.next_event;
local own_next_event = next_event;
trace.follow(function (functions) next_event = functions.next_event; end);
local onincoming = handle.methods.onincoming;

-- The connection that was given data last, until something else happens: the one to blame for an error that leaves turn(). It may have
-- closed itself since
local receiver;

dispatch[events.SLOW] = function (key, kind, milliseconds, served)
	slow.note(kind == 1 and served or handles[key], kind, milliseconds);
end

-- Turns between two looks at the heap
local PACE_EVERY = 32;

-- How many turns take_turns() is to take
local batch = 1;

-- Whether loop() has something to see to before the next turn
local called_away = false;

-- Whether an error has left a turn, of which the rest is to be handed out
local interrupted = false;

-- Hands out the events of some turns. Most events are data, so these are delivered right here. This does what emit() would do, but with
-- one xpcall for many turns instead of one for each message
local function take_turns()
	local rest = interrupted;
	interrupted = false;
	for _ = 1, batch do
		for kind, key, a, b in next_event, rest do
			local conn = kind == 1 and handles[key];
			if conn then
				receiver = conn;
				local callback = conn.onincoming;
				if callback == onincoming then
					local listeners = conn.listeners;
					callback = listeners and listeners.onincoming;
				end
				if not callback then
					emit(conn, "onincoming", a, b);
				elseif b then
					callback(conn, a, b);
				else
					callback(conn, a);
				end
			elseif dispatch[kind] then
				local served = receiver;
				receiver = nil;
				dispatch[kind](key, a, b, served);
			end
		end
		rest = false;
		-- It may be over
		receiver = nil;
		if called_away or collector.cycle_has_ended then
			break;
		end
	end
end

local function onerror(err)
	local raised_in = getinfo(2, "f");
	if raised_in and raised_in.func == own_next_event then
		receiver = nil;
	end
	local listeners = receiver and receiver.listeners;
	if listeners and listeners.onerror then
		return listeners.onerror(err);
	end
	return traceback(err, 2);
end

local function take_protected_turns()
	local ok, err;
	repeat
		ok, err = xpcall(take_turns, onerror);
		interrupted = not ok;
		if not ok and receiver then
			handle.failed(receiver, "onincoming", err);
		elseif not ok then
			-- It is not the fault of a listener
			error(err, 0);
		end
	until ok or not settings.protect_listeners;
end

-- Turns since the last look at the heap
local turns = PACE_EVERY;

-- Runs until setquitting() was called and everything is closed. With once it runs a single turn. After an error that is not caught
-- here, the next call goes on with the rest of that turn. A callback may call this, too
local function loop(once)
	local outer = receiver;
	interrupted = false;
	repeat
		if quitting == "once" or quitting and next(handles) == nil then
			break;
		end
		if turns >= PACE_EVERY or collector.cycle_has_ended then
			collector.pace();
			turns = 0;
		end
		batch = (once or quitting) and 1 or PACE_EVERY;
		turns = turns + batch;
		called_away = false;
		if settings.protect_listeners then
			take_protected_turns();
		else
			take_turns();
		end
	until once;
	-- A loop that a callback has left may have others to see to as well
	called_away = true;
	receiver = outer;
	if quitting == "once" then
		quitting = nil;
	end
	return quitting;
end

-- Closes everything, and ends the loop when that is done, or at the deadline. "once" ends the loop after this turn and closes
-- nothing, and the loop can be entered again
local function setquitting(quit)
	called_away = true;
	if not quit or quit == "once" then
		quitting = quit or nil;
		return;
	end
	quitting = "quitting";
	closeall();
	timers.add_task(1, function ()
		if quitting then
			closeall();
			return 1;
		end
	end);
	if settings.shutdown_deadline then
		timers.add_task(settings.shutdown_deadline, function ()
			if quitting then
				for_all("destroy");
			end
		end);
	end
end

return {
	get_backend = function ()
		return "trochee "..core.backend();
	end;
	set_config = function (network_settings)
		-- Whether callbacks are protected may have changed
		called_away = true;
		return state.configure(network_settings);
	end;
	stats = core.stats;
	describe_stats = core.describe_stats;
	thread_stats = core.thread_stats;
	histograms = core.histograms;
	describe_histograms = core.describe_histograms;
	tallies = core.tallies;
	describe_tallies = core.describe_tallies;
	listeners = core.listeners;
	gauges = core.gauges;
	describe_gauges = core.describe_gauges;
	stages = core.stages;

	listen = listen;
	addserver = addserver;
	wrapserver = wrapserver;
	addclient = addclient;
	wrapclient = wrapclient;
	link = link;
	tls_builder = tls_builder.new;

	watchfd = watch.watchfd;
	hook_signal = watch.hook_signal;
	addevent = watch.addevent;
	event = { EV_READ = "r", EV_WRITE = "w", EV_READWRITE = "rw", EV_LEAVE = -1 };

	add_task = timers.add_task;
	timer = {
		add_task = timers.add_task;
		stop = timers.stop;
		reschedule = timers.reschedule;
		to_absolute_time = timers.to_absolute_time;
	};

	loop = loop;
	closeall = closeall;
	setquitting = setquitting;
};
