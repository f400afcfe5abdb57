-- How Lua's garbage collector works while the loop runs: less often than by Prosody's settings, and in smaller steps.
--
-- Prosody's defaults keep the heap small: a cycle begins whenever it has grown by a twentieth, and visits every live object. With
-- thousands of sessions this is most of what a login costs. Here the heap may grow to twice the size of the live objects, as by Lua's
-- own default, but by no more than gc_headroom. Prosody's speed of 500 makes each step of a cycle so long that everybody waits for it,
-- 50 ms or more. Short steps do the same work well before that room is used up.

local state = require "trochee.state";

local settings = state.settings;
local collectgarbage, floor, max, min = collectgarbage, math.floor, math.max, math.min;
local loaded = package.loaded;

local TWICE = 200; -- percent of what lives
local SMALL_STEP = 16; -- for each 8 kB allocated, 8192 units of work: slots marked, objects swept

-- With a "gc" in Prosody's configuration the operator has decided this
local function is_configured()
	local config = loaded["core.configmanager"];
	return config and config.get("*", "gc") ~= nil;
end

-- Returns a function that replaces the value that others have set, each time that they set one. Lua stores a fourth of the number
local function parameter(option, choose)
	local theirs, ours;
	return function (headroom)
		local found = collectgarbage(option, 0);
		if found ~= ours then
			theirs = found;
		end
		ours = floor((headroom and choose(theirs, headroom) or theirs) / 4) * 4;
		collectgarbage(option, ours);
	end
end

local set_pause = parameter("setpause", function (theirs, headroom)
	local heap = collectgarbage("count") * 1024;
	return max(theirs, min(TWICE, 100 + 100 * headroom / heap));
end);

local set_speed = parameter("setstepmul", function (theirs)
	return min(theirs, SMALL_STEP);
end);

-- To be called now and then: what lives changes, and so may the configuration. Without effect in generational mode
local function pace()
	local headroom = not is_configured() and settings.gc_headroom;
	set_pause(headroom);
	set_speed(headroom);
end

return { pace = pace };
