-- Callbacks that have held the loop for longer than slow_callback: whose they were, and for how long. Nobody else is served meanwhile.

local state = require "trochee.state";
local timers = require "trochee.timers";

local events, log = state.events, state.log;

-- The last ones that are remembered, and the seconds between two lines in the log
local MOST = 100;
local LOG_EVERY = 10;

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

local entries, last, next_line, untold = {}, 0, 0, 0;

-- The file and line where a function begins
local function origin(f)
	local info = type(f) == "function" and debug.getinfo(f, "S");
	return info and ("%s:%d"):format(info.short_src, info.linedefined) or "?";
end

local function describe(handle, kind)
	if kind == events.TIMER then
		return "a timer's callback, "..origin(timers.last());
	end
	local name = names[kind] or "a callback";
	if not handle then
		return name.." of a connection that is over";
	end
	-- A handle's own comes before that of its listeners
	local f = rawget(handle, name) or handle.listeners and handle.listeners[name];
	return ("%s of %s, %s"):format(name, handle, origin(f));
end

-- The core says that what was done about an event took so many milliseconds. No handle: it is over
local function note(handle, kind, milliseconds)
	local entry = { time = os.time(), seconds = milliseconds / 1000, what = describe(handle, kind) };
	last = last % MOST + 1;
	entries[last] = entry;
	if entry.time < next_line then
		untold = untold + 1;
		return;
	end
	next_line = entry.time + LOG_EVERY;
	log("warn", "The loop stood still for %.2f s: %s%s", entry.seconds, entry.what,
		untold > 0 and (" (and %d times more since the last line)"):format(untold) or "");
	untold = 0;
end

-- Those of the last hundred that took longest, the longest first: tables with time, in seconds since 1970, seconds and what
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
