-- Callbacks that have held the loop for longer than slow_callback: whose they were, for how long, and where they were meanwhile. Nobody
-- else is served then.

local state = require "trochee.state";
local timers = require "trochee.timers";

local core, events, log = state.core, state.events, state.log;

-- The last ones that are remembered, the seconds between two lines in the log about one place, and the places that are told apart
local MOST = 100;
local LOG_EVERY = 10;
local MOST_PLACES = 100;

local names = {
	[events.DATA] = "onincoming";
	[events.ACCEPTED] = "onconnect";
	[events.CONNECTED] = "onconnect";
	[events.CLOSED] = "ondisconnect";
	[events.READ_TIMEOUT] = "onreadtimeout";
	[events.PREDRAIN] = "onpredrain";
	[events.DRAIN] = "ondrain";
	[events.SECURED] = "onstatus";
	[events.CLIENT_HELLO] = "the choice of a certificate";
	[events.READY] = "onreadable or onwritable";
	[events.SIGNAL] = "a signal's callback";
};

local entries, last = {}, 0;

-- place -> { when the log may be told again, how often it was not told since }
local told, places = {}, 0;

-- The file and line where a function begins
local function origin(f)
	local info = type(f) == "function" and debug.getinfo(f, "S");
	return info and ("%s:%d"):format(info.short_src, info.linedefined) or "?";
end

local function of_timer()
	local callback, param = timers.last();
	-- Prosody's module:add_timer puts a callback of its own in front of that of the module
	local module = type(param) == "table" and rawget(param, "module_env");
	if type(module) == "table" and type(param.callback) == "function" then
		return ("a timer's callback of mod_%s, "):format(module.name), origin(param.callback);
	end
	return "a timer's callback, ", origin(callback);
end

-- Whose callback it was, and where that begins: "" where nobody knows
local function owner(handle, kind)
	if kind == events.TIMER then
		return of_timer();
	end
	local name = names[kind] or "a callback";
	if not handle then
		return name.." of a connection that is over", "";
	end
	-- A handle's own comes before that of its listeners
	local f = rawget(handle, name) or handle.listeners and handle.listeners[name];
	local session = state.session_of and state.session_of(handle);
	return ("%s of %s, %s, %s"):format(name, handle.id or "-", handle, session and session..", " or ""), origin(f);
end

-- The innermost line of Lua in a traceback, and the C function that was called there, if it was one
local function place(trace)
	local called;
	for line in trace:gmatch("[^\n]+") do
		local at = line:match("^%s*(.-:%d+): ");
		if at then
			return at, called;
		end
		called = called or line:match("^%s*%[C%]: in (.*)$");
	end
end

-- Whether the log is to be told of this place now, and how often it was not told
local function is_due(at, now)
	local line = told[at];
	if line and now < line[1] then
		line[2] = line[2] + 1;
		return false;
	end
	if not line and places >= MOST_PLACES then
		-- Nobody needs to know of what was told long ago
		told, places = {}, 0;
	end
	places = places + (line and 0 or 1);
	told[at] = { now + LOG_EVERY, 0 };
	return true, line and line[2] or 0;
end

-- The core says that what was done about an event took so many milliseconds. No handle: it is over
local function note(handle, kind, milliseconds)
	local seconds, now = milliseconds / 1000, os.time();
	local what, begins = owner(handle, kind);
	local trace = core.blocked_at();
	local at, called;
	if trace then
		at, called = place(trace);
	end
	what = what..begins;
	if at then
		what = ("%s, which was at %s%s"):format(what, at, called and " in "..called or "");
	end
	last = last % MOST + 1;
	entries[last] = { time = now, seconds = seconds, what = what, trace = trace };
	local due, untold = is_due(at or begins, now);
	if due then
		log("warn", "The loop stood still for %.2f s: %s%s%s", seconds, what,
			untold > 0 and (" (and %d times more there since the last line)"):format(untold) or "", trace and "\n"..trace or "");
	end
end

-- Those of the last hundred that took longest, the longest first: tables with time, in seconds since 1970, seconds, what, and the
-- traceback if there is one
local function list()
	local found = {};
	for _, entry in ipairs(entries) do
		found[#found+1] = entry;
	end
	table.sort(found, function (a, b) return a.seconds > b.seconds; end);
	return found;
end

return {
	note = note;
	list = list;
};
