-- Descriptors of other libraries, and signals.

local state = require "trochee.state";
local handle = require "trochee.handle";

local xpcall = require "trochee.compat".xpcall;
local core, handles, signals, log = state.core, state.handles, state.signals, state.log;
local call = handle.call;
local setmetatable, type = setmetatable, type;

--- Descriptors

-- The methods of a connection that make sense here, where nothing is read, written or closed
local watch = setmetatable({}, { __index = handle.methods });
local watch_mt = { __index = watch };

-- fd -> watch. A new watch of the same number replaces the old one, whose descriptor may have been closed meanwhile
local by_fd = {};

function watch_mt:__tostring()
	return ("FD %d (watched)"):format(self._fd);
end

function watch:add(r, w)
	if self[1] then
		return self:set(r, w);
	end
	if r == nil then r = self._wantread; end
	if w == nil then w = self._wantwrite; end
	local old = by_fd[self._fd];
	if old then
		old:del();
	end
	local key, err = core.watch(self._fd, not not r, not not w);
	if not key then
		self:debug("Could not watch it: %s", err);
		return nil, err;
	end
	self[1], self._wantread, self._wantwrite = key, r, w;
	handles[key], by_fd[self._fd] = self, self;
	return true;
end

function watch:set(r, w)
	if not self[1] then
		return nil, "unregistered fd";
	end
	if r == nil then r = self._wantread; end
	if w == nil then w = self._wantwrite; end
	local ok, err = core.set_watch(self[1], not not r, not not w);
	if ok then
		self._wantread, self._wantwrite = r, w;
	end
	return ok, err;
end

function watch:del()
	if not self[1] then
		return nil, "unregistered fd";
	end
	core.destroy(self[1]);
	handles[self[1]], by_fd[self._fd] = nil, nil;
	self[1], self._wantread, self._wantwrite = nil, nil, nil;
	return true;
end

function watch:setflags(r, w)
	if r or w then
		return self:add(not not r, not not w);
	end
	return not self[1] or self:del();
end

function watch:pause()
	return self:set(false);
end

function watch:resume()
	return self:set(true);
end

-- Does not close the descriptor, which belongs to somebody else
function watch:close()
	self:del();
end

watch.destroy = watch.close;

function watch:getfd()
	return self._fd;
end

function watch:socket()
	return self.conn;
end

-- The number itself, or that of an object like LuaSocket's
local function descriptor(fd)
	if type(fd) == "number" then
		return fd;
	end
	if (type(fd) == "userdata" or type(fd) == "table") and fd.getfd then
		return fd:getfd();
	end
	return nil, "a file descriptor must be a number or an object with getfd, not "..type(fd);
end

local last_id = 0;

-- Calls onreadable(handle) while fd is readable, and onwritable(handle) while it is writable
local function watchfd(fd, onreadable, onwritable)
	local number, err = descriptor(fd);
	if not number then
		return nil, err;
	end
	last_id = last_id + 1;
	local self = setmetatable({
		conn = fd;
		_fd = number;
		id = "fdwatch"..last_id;
		created = core.now();
		onreadable = onreadable;
		onwritable = onwritable;
	}, watch_mt);
	local ok, err = self:add(onreadable, onwritable); -- luacheck: ignore 411/err
	if not ok then
		return nil, err;
	end
	return self;
end

-- A watch that has only one of the callbacks gets errors by that one, because there is no other way to tell
local function ready(key, readable, writable)
	local self = handles[key];
	if not self then return; end
	local onreadable, onwritable = rawget(self, "onreadable"), rawget(self, "onwritable");
	if not onreadable then
		writable = writable or readable;
	elseif readable then
		call(self, "onreadable", onreadable, self);
	end
	if writable and onwritable and self[1] then
		call(self, "onwritable", onwritable, self);
	end
end

-- The libevent emulation of server_epoll: callback(handle) returns -1 to stop, something true to go on
local function addevent(fd, mode, callback)
	log("warn", "Using deprecated libevent emulation, please update code to use watchfd API instead");
	local r, w = mode == "r" or mode == "rw", mode == "w" or mode == "rw";
	local function onevent(self)
		local ret = callback(self);
		if ret == -1 then
			self:set(false, false);
		elseif ret then
			self:set(r, w);
		end
	end
	local self, err = watchfd(fd, r and onevent, w and onevent);
	if self then
		self.callback = callback;
	end
	return self, err;
end

--- Signals

local signal_methods = {};
local signal_mt = { __index = signal_methods };

function signal_mt:__tostring()
	return ("signal %d"):format(self.signal);
end

-- signal number -> handle
local by_signal = {};

-- The signal regains its usual action
function signal_methods:close()
	local key = self[1];
	if key then
		core.close(key);
		signals[key], by_signal[self.signal], self[1] = nil, nil, nil;
	end
end

-- callback(handle, signal) runs in the loop instead of what the signal usually does. A second callback replaces the
-- first; none at all gives the signal back
local function hook_signal(signal, callback)
	local self = by_signal[signal];
	if callback == nil then
		if self then self:close(); end
		return true;
	end
	if self then
		self.callback = callback;
		return self;
	end
	-- SIGKILL and SIGSTOP cannot be hooked, and the system does not say so
	if type(signal) ~= "number" or signal % 1 ~= 0 or signal < 1 or signal > 64 or signal == 9 or signal == 19 then
		return nil, "invalid-signal";
	end
	local key, err = core.watch_signal(signal);
	if not key then
		log("error", "Could not hook signal %d: %s", signal, err);
		return nil, "failed";
	end
	self = setmetatable({ key, signal = signal, callback = callback }, signal_mt);
	signals[key], by_signal[signal] = self, self;
	return self;
end

local function signalled(key, signal)
	local self = signals[key];
	if not self then return; end
	local ok, err = xpcall(self.callback, debug.traceback, self, signal);
	if not ok then
		log("error", "Error in the handler of signal %d: %s", signal, err);
	end
end

return {
	watchfd = watchfd;
	addevent = addevent;
	ready = ready;
	hook_signal = hook_signal;
	signalled = signalled;
};
