-- Timers: what util.timer offers, on the deadlines of the core.
--
-- The id of a timer is a table that belongs to this file. An id of the core is for one deadline only; one that a caller has stays
-- when the timer repeats. There may be one for each connection, and the garbage collector visits each in every cycle, so it is an
-- array: [1] is the callback, nil once it was stopped; [2] the core's id, false while it runs; [3] the parameter.

local state = require "trochee.state";

local core, settings, log = state.core, state.settings, state.log;
local xpcall, traceback = require "trochee.compat".xpcall, debug.traceback;
local getmetatable, setmetatable, tonumber, type, max = getmetatable, setmetatable, tonumber, type, math.max;

local timer_mt = { __name = "timer" };

-- core id -> timer. mod_admin_shell finds this as an upvalue of add_task, by its name, and reads it as it would the heap of
-- the stock backends. Those fields are made when somebody reads them
local timers = {};

local view = { priorities = {}, items = {} };

local function earliest()
	local first;
	for id in pairs(timers) do
		local due = core.timer_due(id);
		if not first or due < first then first = due; end
	end
	return first;
end

setmetatable(timers, {
	__index = function (_, field)
		if field == "ids" then
			local ids = {};
			view = { priorities = {}, items = {} };
			for id, timer in pairs(timers) do
				local i = #ids + 1;
				ids[i], view.priorities[i] = id, core.timer_due(id);
				view.items[id] = { timer_callback = timer[1], param = timer[3] };
			end
			return ids;
		elseif field == "peek" then
			return earliest;
		end
		return view[field];
	end;
});

local function is_timer(id)
	return getmetatable(id) == timer_mt;
end

-- callback(now, id[, param]) runs after delay seconds, never at once; a number that it returns is the next delay
local function add_task(delay, callback, param)
	local seconds = tonumber(delay);
	if not seconds then
		error(("bad argument #1 to 'add_task' (number expected, got %s)"):format(type(delay)), 2);
	elseif callback == nil then
		error("bad argument #2 to 'add_task' (function expected, got nil)", 2);
	end
	local id = core.set_timer(seconds);
	local timer = setmetatable(param == nil and { callback, id } or { callback, id, param }, timer_mt);
	timers[id] = timer;
	return timer;
end

local function stop(id)
	if is_timer(id) then
		-- A timer whose callback is running now does not repeat either
		id[1] = nil;
		if id[2] then
			core.cancel_timer(id[2]);
			timers[id[2]], id[2] = nil, false;
		end
	end
end

local function reschedule(id, delay)
	local seconds = tonumber(delay);
	if not seconds then
		error(("bad argument #2 to 'reschedule' (number expected, got %s)"):format(type(delay)), 2);
	elseif is_timer(id) and id[2] then
		core.reset_timer(id[2], seconds);
	end
end

-- From the monotonic clock, which timers follow, to the wall clock
local function to_absolute_time(t)
	return t - core.monotonic() + core.now();
end

-- The callback that runs, or that ran last, and its parameter
local running, running_param;

-- The core says that a deadline has passed
local function fire(key)
	local timer = timers[key];
	if not timer then return; end
	timers[key], timer[2] = nil, false;
	local callback, param = timer[1], timer[3];
	running, running_param = callback, param;
	local ok, ret;
	if param == nil then
		ok, ret = xpcall(callback, traceback, core.now(), timer);
	else
		ok, ret = xpcall(callback, traceback, core.now(), timer, param);
	end
	if not ok then
		log("error", "Error in timer: %s", ret);
	elseif type(ret) == "number" and timer[1] then
		if ret ~= ret then
			log("error", "Error in timer: it asked to be repeated after a time that is not a number");
		else
			local id = core.set_timer(max(ret, settings.min_wait));
			timers[id], timer[2] = timer, id;
		end
	end
end

return {
	add_task = add_task;
	stop = stop;
	reschedule = reschedule;
	to_absolute_time = to_absolute_time;
	fire = fire;
	last = function ()
		return running, running_param;
	end;
};
