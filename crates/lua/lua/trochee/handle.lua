-- The handle of a connection or listener: what Prosody calls conn.
--
-- A handle is a plain table: callers add fields to it and replace methods. [1] is its key, by which the core knows it. It is nil
-- once the connection is over. The core treats nil as a key that is over, so nothing here raises then. TLS is in trochee.tls.handle.

local state = require "trochee.state";
local timers = require "trochee.timers";
local ends = require "trochee.ends";
local plain_socket = require "trochee.socket";
local tls_socket = require "trochee.tls.socket";
local new_log = require "trochee.log";

local core, handles, settings, log = state.core, state.handles, state.settings, state.log;
local xpcall, traceback = require "trochee.compat".xpcall, debug.traceback;
local ipairs, setmetatable, tostring, type = ipairs, setmetatable, tostring, type;

local handle = {
	log = log;
};

local handle_mt = { __index = handle };

function handle_mt:__tostring()
	local names = {};
	for _, field in ipairs { "peername", "peerport", "sockname", "sockport" } do
		names[#names+1] = self[field] and tostring(self[field]);
	end
	local fd = ("FD %d"):format(self:getfd());
	return names[1] and ("%s (%s)"):format(fd, table.concat(names, ", ")) or fd;
end

--- Log

-- A handle gets a logger of its own when it first logs something: thousands never do
local function own_log(self)
	if self.log == log then
		self.log = new_log(tostring(self.id));
	end
	return self.log;
end

function handle:debug(...)
	own_log(self)("debug", ...);
end

function handle:error(...)
	own_log(self)("error", ...);
end

function handle:noise(...)
	if settings.verbose then
		self:debug(...);
	end
end

--- Callbacks

local function failed(self, name, err)
	if settings.fatal_errors then
		self:error("Closing due to error calling %s: %s", name, err);
		self:destroy();
	else
		self:error("Error calling %s: %s", name, err);
	end
	return nil, err;
end

-- Calls a function that belongs to the user of the handle. Only Lua functions are on the stack then, so it may yield
local function call(self, name, f, ...)
	if not settings.protect_listeners then
		return f(...);
	end
	local listeners = self.listeners;
	local ok, ret = xpcall(f, listeners and listeners.onerror or traceback, ...);
	if not ok then
		return failed(self, name, ret);
	end
	return ret;
end

-- Calls the callback of that name that the listeners have now
local function emit(self, name, ...)
	local listeners = self.listeners;
	if not listeners then
		self:error("Interface is missing listener callbacks");
		return;
	end
	local callback = listeners[name];
	if not callback then
		self:noise("Missing listener '%s'", name);
		return;
	end
	return call(self, name, callback, self, ...);
end

function handle:on(what, ...)
	if self[1] then
		return emit(self, "on"..what, ...);
	end
end

function handle:onincoming(...)
	return self:on("incoming", ...);
end

function handle:ondrain()
	return self:on("drain");
end

function handle:setlistener(listeners, data)
	self:on("detach");
	self.listeners = listeners;
	self:on("attach", data);
	-- The new ones may want to know about what the old ones wrote
	if self[1] and listeners and (listeners.ondrain or listeners.onpredrain) and core.pending(self[1]) > 0 then
		core.notify_flush(self[1], true);
	end
end

--- The end

-- Forgets a handle whose key is over
local function forget(self)
	local key = self[1];
	if key then
		handles[key] = nil;
		self[1] = nil;
	end
	if self._pausefor then
		timers.stop(self._pausefor);
		self._pausefor = nil;
	end
	if self._wrapped then
		self._wrapped:close();
		self._wrapped = nil;
	end
end

-- Tells the listeners as well
local function finish(self, ...)
	forget(self);
	emit(self, "ondisconnect", ...);
end

-- Sends what is queued first
function handle:close()
	local key = self[1];
	if key then
		local age, received, sent, in_handshake = core.end_info(key);
		if core.close(key) then
			ends.tell(self, "closed here", age, received, sent, in_handshake);
			finish(self);
		end
	end
	-- Otherwise the core will tell when it is over, or has told already. Until then nothing new begins on it
	self._closing = true;
end

-- Discards what is queued, and calls no callback
function handle:destroy()
	ends.tell(self, "destroyed here", core.end_info(self[1]));
	core.destroy(self[1]);
	forget(self);
end

--- Reading and writing

-- Length | false: the peer lags too far behind, and is disconnected | nil: over. onpredrain and ondrain follow where the listeners have
-- them, or the handle itself
handle.write = core.write;

handle.send = handle.write;

-- net.adns calls it and replaces send as well
function handle:set_send() -- luacheck: ignore 212/self
end

local function result(changed)
	if changed then return true; end
	return nil, "invalid fd";
end

function handle:pause()
	self:pausefor(false);
	return result(core.pause(self[1]));
end

function handle:resume()
	self:pausefor(false);
	return result(core.resume(self[1]));
end

-- Pauses reading for t seconds. A pause() or resume() before they are over replaces it
function handle:pausefor(t)
	if self._pausefor then
		timers.stop(self._pausefor);
		self._pausefor = nil;
	end
	if t and core.pause(self[1]) then
		self._pausefor = timers.add_task(t, function ()
			self._pausefor = nil;
			core.resume(self[1]);
		end);
	end
end

function handle:pause_writes()
	core.pause_writes(self[1]);
end

function handle:resume_writes()
	core.resume_writes(self[1]);
end

function handle:setlimit(bytes_per_second)
	core.set_rate_limit(self[1], bytes_per_second or 0);
end

function handle:set_mode(mode)
	local ok, err = core.set_read_size(self[1], mode);
	if err then
		self:error("Keeping the read size: %s", err);
	elseif ok then
		self.read_size = mode;
	end
end

-- What stock handles tell the poller: true and false switch a direction on and off, nil leaves it as it is
function handle:set(r, w)
	if not self[1] then return nil, "invalid fd"; end
	if r then
		self:resume();
	elseif r == false then
		self:pause();
	end
	if w ~= nil then
		-- What is queued is sent anyway. Callers ask for writing only to get onpredrain and ondrain
		core.notify_flush(self[1], w and true);
	end
	return true;
end

handle.add = handle.set;

function handle:del()
	return self:set(false, false);
end

function handle:setflags(r, w)
	return self:set(not not r, not not w);
end

-- The seconds until onreadtimeout, false for never
function handle:setreadtimeout(t)
	core.set_read_timeout(self[1], t == nil and settings.read_timeout or t);
end

-- After how many seconds a connection ends whose peer takes nothing, false for never
function handle:setwritetimeout(t)
	core.set_write_timeout(self[1], t == nil and settings.send_timeout or t);
end

-- Whether the connection has authenticated: true, or false while it has to. "request" is for those that have a request to make, which
-- has not come yet; nil for those of whom nobody tells. On a listener it is what its connections begin with. Returns whether there is
-- such a connection
function handle:set_authenticated(has)
	return core.set_authentication(self[1], has);
end

--- Who and where

function handle:getfd()
	return core.fd(self[1]) or -1;
end

-- What TCP knows of the connection, above all how long data has waited for its acknowledgement; nil for other sockets
function handle:tcp_info()
	return core.tcp_info(self[1]);
end

-- The same object each time, and another one once there is TLS. Few callers ask for it, so it is made when they do
function handle:socket()
	if not self[1] then return nil; end
	if self._wrapped then return self._wrapped; end
	if not self._socket then
		self._socket = (self._tls and tls_socket or plain_socket).new(self);
	end
	return self._socket;
end

function handle:server()
	return self._server or self;
end

function handle:ip()
	return self.peername or self.sockname;
end

function handle:port()
	return self.peerport or self.sockport;
end

-- The client's port, of the two
function handle:clientport()
	if self._server then
		return self.peerport;
	end
	return self.sockport;
end

function handle:serverport()
	if self._server or self._listening then
		return self.sockport;
	end
	return self.peerport;
end

-- What a proxy has told of the client in a header of the PROXY protocol; nil where none spoke. The methods above give the client's
-- addresses then
function handle:proxy_header()
	return core.proxied(self[1]);
end

-- Addresses become known when a connection is established. A UNIX socket has no peer's name, and keeps the one it was
-- given
function handle:updatenames()
	local peername, peerport, sockname, sockport = core.names(self[1]);
	if peername then
		self.peername, self.peerport = peername, peerport;
	end
	if sockname then
		self.sockname, self.sockport = sockname, sockport;
	end
end

-- true | false, err, as from a pcall of LuaSocket's method
function handle:setoption(name, value)
	local ok, err = core.set_option(self[1], name, value);
	if ok then return 1; end
	self:noise("Setting option %q = %q failed: %s", tostring(name), tostring(value), err);
	return false, err;
end

--- Making them

local last_id = 0;

-- The handle of a key that the core has just made.
--
-- There are thousands of handles, and Lua's garbage collector visits each of them in every cycle. So a handle is one object, without
-- a closure of its own, and an accepted one has eight fields: the most that a table of this size holds. kind is what its id, a
-- string as on the stock backends, begins with
local function new(key, server, listeners, read_size, extra, kind)
	last_id = last_id + 1;
	local peername, peerport, sockname, sockport = core.names(key);
	local self = setmetatable({
		key;
		id = (kind or "conn")..last_id;
		created = core.now();
		listeners = listeners;
		_server = server;
		peername = peername, peerport = peerport;
		sockname = sockname, sockport = sockport;
	}, handle_mt);
	self.read_size, self.extra = read_size, extra;
	if type(extra) == "table" then
		self.servername = extra.servername;
	end
	handles[key] = self;
	return self;
end

local function new_server(key, addr, port, listeners, config)
	local self = new(key, nil, listeners, config and config.read_size, nil, "serv");
	self._listening = true;
	self.hosts = config and config.sni_hosts;
	self.tls_ctx = config and config.tls_ctx;
	self.tls_direct = config and config.tls_direct;
	-- The address that was asked for, not the one that the system chose: mod_saslauth looks up ports by it
	self.sockname = addr;
	if port and port ~= 0 then
		self.sockport = port;
	end
	return self;
end

return {
	methods = handle;
	new = new;
	new_server = new_server;
	call = call;
	emit = emit;
	finish = finish;
	failed = failed;
};
