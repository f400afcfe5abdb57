-- What a module must not do: whoever sends a message to the host has the loop stand still for a while.

local sleep = require "socket".sleep;
local add_task = require "util.timer".add_task;

local function stand_still()
	sleep(0.7);
end

module:hook("message/host", function ()
	add_task(0, stand_still);
	return true;
end, 1);
