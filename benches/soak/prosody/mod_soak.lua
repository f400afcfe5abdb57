-- Writes down what only the server's Lua can see: a line every half second, and one with the word "settled" when asked to collect all
-- garbage first, by a file.
--
--   TIME WORD LUA_BYTES SESSIONS HANDLES LATE      TIME: seconds of CLOCK_MONOTONIC
--
-- LATE: the longest delay of a timer since the line before, in seconds. HANDLES: -1 on backends that do not tell.

module:set_global();

local monotonic = require "util.time".monotonic;
local add_task = require "util.timer".add_task;

local PERIOD, LINES = 0.02, 25;

local folder = module:get_option_string("soak_folder");
local out = assert(io.open(folder .. "/lua.txt", "a"));
out:setvbuf("line");
local request = folder .. "/settle";

local c2s_sessions = module:shared("/*/c2s/sessions");

local function count(t)
	local n = 0;
	for _ in pairs(t) do n = n + 1; end
	return n;
end

local function write(word, late)
	-- Asked anew, because the backend is loaded after the modules in some versions
	local state = package.loaded["trochee.state"];
	out:write(("%.6f %s %d %d %d %.6f\n"):format(monotonic(), word, collectgarbage("count") * 1024, count(c2s_sessions),
		state and count(state.handles) or -1, late));
end

local due, late, ticks = monotonic() + PERIOD, 0, 0;

add_task(PERIOD, function ()
	local now = monotonic();
	late, ticks = math.max(late, now - due), ticks + 1;
	if ticks == LINES then
		write("running", late);
		late, ticks = 0, 0;
		if os.remove(request) then
			collectgarbage();
			collectgarbage();
			write("settled", 0);
		end
	end
	due = monotonic() + PERIOD;
	return PERIOD;
end);
