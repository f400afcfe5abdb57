-- How Lua's garbage collector works while the loop runs: less often than by Prosody's settings, and in smaller steps.
--
-- Prosody's defaults keep the heap small: a cycle begins whenever it has grown by a twentieth, and visits every live object. With
-- thousands of sessions this is most of what a login costs. Here the heap may grow to twice the size of the live objects, as by Lua's
-- own default, but by no more than gc_headroom. Prosody's speed of 500 makes each step of a cycle so long that everybody waits for it,
-- 50 ms or more. Short steps do the same work well before that room is used up.
--
-- A burst leaves a high mark: a cycle in its midst finds all of it alive, and the next one begins only when the heap has grown by as much
-- again, which an idle server's never does. So a moment after a cycle, if the heap has more than this room beyond what was found to
-- live, two more are gone through, in steps between which everybody is served, and what is free goes back to the system.

local state = require "trochee.state";
local timers = require "trochee.timers";
local give_back = require "trochee".give_back;

local settings = state.settings;
local collectgarbage, floor, max, min, setmetatable = collectgarbage, math.floor, math.max, math.min, setmetatable;
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

-- Bytes, as Lua counts them; with its garbage
local function heap_size()
	return collectgarbage("count") * 1024;
end

local CALM = 5; -- seconds after the end of a cycle
local SELDOM = 30; -- seconds after which there is reason to look again
local LEAST = 4 * 1024 * 1024; -- bytes: less is not worth a look, nor to be given back
local STEPS, PAUSE = 4, 0.005; -- each step is that of 8 kB allocated

-- What the heap had when it was cleaned last, or less; and when that was
local clean, cleaned_at = heap_size(), 0;

-- Whether memory was taken that is not in the heap
local is_due = false;

local function is_off()
	return is_configured() or not settings.gc_headroom;
end

-- To the end of the cycle that may be under way, then through a whole one: what has died since that began is garbage as well
local function clean_up()
	local before, clean_before, cycles = heap_size(), clean, 2;
	local gives_back = is_due;
	is_due = false;
	timers.add_task(PAUSE, function ()
		if is_off() then return; end
		for _ = 1, STEPS do
			if collectgarbage("step", 0) then
				cycles = cycles - 1;
			end
			if cycles == 0 then
				clean, cleaned_at = heap_size(), state.core.monotonic();
				if gives_back or before - clean > LEAST then
					give_back();
				end
				if clean - clean_before > LEAST then
					-- This may have been in the midst of the burst
					timers.add_task(SELDOM, clean_up);
				end
				return;
			end
		end
		return PAUSE;
	end);
end

local function is_overdue()
	local heap = heap_size();
	clean = min(clean, heap);
	local grown = heap - clean;
	return is_due or grown > LEAST
		and (grown > min(settings.gc_headroom, clean) or state.core.monotonic() - cleaned_at > SELDOM);
end

local collector = {
	-- Whether a cycle has ended that pace() does not know of
	cycle_has_ended = false;
};

-- Lua finalises what nobody holds at the end of a cycle. The core may be at work at that moment, so nothing is asked of it
local function watch_cycles()
	setmetatable({}, { __gc = function ()
		collector.cycle_has_ended = true;
		watch_cycles();
	end });
end

local calm;

-- Looks at the heap when no cycle has ended for a while
local function wait_for_calm()
	collector.cycle_has_ended = false;
	if calm then
		timers.reschedule(calm, CALM);
		return;
	end
	calm = timers.add_task(CALM, function ()
		calm = nil;
		if not is_off() and is_overdue() then
			clean_up();
		end
	end);
end

-- To be called when objects come in the place of others that are then garbage, and have nearly all of their memory outside of the heap,
-- where the collector does not see it: the heap is cleaned when it is calm
function collector.will_be_due()
	if is_off() then return; end
	is_due = true;
	if not calm then
		wait_for_calm();
	end
end

-- To be called for each of them, with what it has outside, in kB. The collector goes on as if the heap had grown by that, so what is
-- replaced again and again is bounded by gc_headroom as well. Nobody waits for a whole cycle
function collector.weigh(size)
	if is_off() then return; end
	collectgarbage("step", size);
end

-- To be called now and then, and when a cycle has ended: what lives changes, and so may the configuration. Without effect in
-- generational mode
function collector.pace()
	local headroom = not is_off() and settings.gc_headroom;
	set_pause(headroom);
	set_speed(headroom);
	if collector.cycle_has_ended then
		wait_for_calm();
	end
end

watch_cycles();

return collector;
