-- net.server_event: settings come in by assignment to cfg, the poller is libevent, and addevent is luaevent's.

local stock = require "trochee.stock";
local state = require "trochee.state";
local timers = require "trochee.timers";
local watch = require "trochee.watch";
local event = require "trochee.stock.luaevent";
local names = require "trochee.stock.event_names";

-- Prosody's own test has passed (trochee.takeover); from here on nobody shall take this for luaevent
if package.loaded["luaevent.core"] == event then
	package.loaded["luaevent.core"] = nil;
end

local core, settings, log = state.core, state.settings, state.log;

-- Else what Prosody says where luaevent is missing
local poller = "libevent";
if not stock.forced then
	local found, err = core.set_backend(poller);
	if not found then
		poller = "auto";
		log("error", "libevent not found, falling back to %s (%s)", core.backend(), err);
	end
end

--- Settings

-- Those that mean nothing to trochee, with server_event's values
local without_effect = {
	CLEAR_DELAY = 5;
	DEBUG = true;
	MAX_HANDSHAKE_ATTEMPTS = 1000;
	READ_RETRY_DELAY = 1e-06;
};

-- Prosody copies cfg and then writes each of its keys. An empty table: that is how writing to a key shows
local cfg = setmetatable({}, {
	__index = function (_, key)
		if names[key] then
			return settings[names[key]];
		end
		return without_effect[key];
	end;
	__newindex = function (_, key, value)
		local name = names[key];
		if not name then
			without_effect[key] = value;
		elseif value ~= settings[name] then
			stock.change({ [name] = value }, poller);
		end
	end;
	__pairs = function ()
		local all = {};
		for key, name in pairs(names) do
			all[key] = settings[name];
		end
		for key, value in pairs(without_effect) do
			all[key] = value;
		end
		return next, all;
	end;
});

stock.change({}, poller);

--- Events

local EV_TIMEOUT, EV_READ, EV_WRITE = event.EV_TIMEOUT, event.EV_READ, event.EV_WRITE;

-- Without the operators of Lua 5.3, so that every Lua can read this
local function has(flags, flag)
	return flags % (2 * flag) >= flag;
end

local event_methods = {};
local event_mt = { __index = event_methods };

function event_methods:_stop_timer()
	if self._timer then
		timers.stop(self._timer);
		self._timer = nil;
	end
end

function event_methods:_start()
	if self._watch then
		self._watch:setflags(has(self._flags, EV_READ), has(self._flags, EV_WRITE));
	end
	if self._timeout then
		self._timer = timers.add_task(self._timeout, function ()
			self._timer = nil;
			self:_fire(EV_TIMEOUT);
		end);
	end
end

function event_methods:_fire(what)
	self:_stop_timer();
	local flags, timeout = self._callback(what);
	if self._closed then
		return;
	elseif flags == event.LEAVE then
		self:close();
		return;
	end
	self._flags = type(flags) == "number" and flags or self._flags;
	if type(timeout) == "number" and timeout >= 0 then
		self._timeout = timeout;
	end
	self:_start();
end

function event_methods:close()
	self._closed = true;
	self:_stop_timer();
	if self._watch then
		self._watch:close();
	end
end

-- callback(what happened) returns what to wait for from now on and the timeout in seconds, nil for what it was, or LEAVE. fd
-- may be nil for a timeout alone
local function addevent(fd, flags, callback, timeout)
	if has(flags, event.EV_SIGNAL) then
		return nil, "addevent takes no signals, hook_signal does";
	end
	local self = setmetatable({ _flags = flags, _callback = callback, _timeout = timeout }, event_mt);
	if fd then
		local function on(what)
			return function ()
				self:_fire(what);
			end
		end
		local watched, err = watch.watchfd(fd, on(EV_READ), on(EV_WRITE));
		if not watched then
			return nil, err;
		end
		self._watch = watched;
	end
	self:_start();
	return self;
end

-- The handler is called without arguments, and gives the signal back by returning false
local function hook_signal(signal, handler)
	return watch.hook_signal(signal, handler and function (hooked)
		if handler() == false then
			hooked:close();
		end
	end);
end

return stock.new("event", {
	cfg = cfg;
	addevent = addevent;
	event = event;
	hook_signal = hook_signal;
});
