-- Timers: what util.timer offers, on the deadlines of the core.
--
-- The id of a timer is a table that belongs to this file. The core's own ids live for one deadline only, those of
-- callers survive repetition.

local state = require "trochee.state";

local core, settings, log = state.core, state.settings, state.log;
local xpcall, traceback = xpcall, debug.traceback;
local getmetatable, setmetatable, tonumber, type, max = getmetatable, setmetatable, tonumber, type, math.max;

local timer_mt = { __name = "timer" };

-- core id -> timer. mod_admin_shell finds this as an upvalue of add_task, by its name, and reads it like the heap of the
-- stock backends: the fields of that are made when somebody looks
local timers = {};

local view = { priorities = {}, items = {} };

local function earliest()
	local first;
	for _, timer in pairs(timers) do
		if not first or timer.due < first then first = timer.due; end
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
				ids[i], view.priorities[i] = id, timer.due;
				view.items[id] = { timer_callback = timer.callback, param = timer.param };
			end
			return ids;
		elseif field == "peek" then
			return earliest;
		end
		return view[field];
	end;
});

local function set_deadline(timer, delay)
	timer.key = core.set_timer(delay);
	timer.due = core.monotonic() + delay;
end

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
	local timer = setmetatable({ callback = callback, param = param, key = nil, due = nil }, timer_mt);
	set_deadline(timer, seconds);
	timers[timer.key] = timer;
	return timer;
end

local function stop(id)
	if is_timer(id) then
		-- Also tells a timer that is running just now not to repeat
		id.stopped = true;
		if id.key then
			core.cancel_timer(id.key);
			timers[id.key], id.key = nil, nil;
		end
	end
end

local function reschedule(id, delay)
	local seconds = tonumber(delay);
	if not seconds then
		error(("bad argument #2 to 'reschedule' (number expected, got %s)"):format(type(delay)), 2);
	elseif is_timer(id) and id.key then
		core.reset_timer(id.key, seconds);
		id.due = core.monotonic() + seconds;
	end
end

-- From the clock that deadlines follow to the one on the wall
local function to_absolute_time(t)
	return t - core.monotonic() + core.now();
end

-- The core says that a deadline has passed
local function fire(key)
	local timer = timers[key];
	if not timer then return; end
	timers[key], timer.key = nil, nil;
	local ok, ret;
	if timer.param == nil then
		ok, ret = xpcall(timer.callback, traceback, core.now(), timer);
	else
		ok, ret = xpcall(timer.callback, traceback, core.now(), timer, timer.param);
	end
	if not ok then
		log("error", "Error in timer: %s", ret);
	elseif type(ret) == "number" and not timer.stopped then
		if ret ~= ret then
			log("error", "Error in timer: it asked to be repeated after a time that is not a number");
		else
			set_deadline(timer, max(ret, settings.min_wait));
			timers[timer.key] = timer;
		end
	end
end

return {
	add_task = add_task;
	stop = stop;
	reschedule = reschedule;
	to_absolute_time = to_absolute_time;
	fire = fire;
};
