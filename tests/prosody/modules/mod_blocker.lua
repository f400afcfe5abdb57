-- Holds the loop: a message with a body "wait" or "compute" in its handler, and "timer" in a timer. Each place has a mark, by which the
-- test finds its line.

local socket = require "socket";

local function wait()
	-- Nobody answers there
	local sock = socket.tcp();
	sock:settimeout(1);
	sock:bind("127.0.0.1", 0);
	sock:listen(1);
	sock:accept(); -- waits
	sock:close();
end

local function compute()
	local begun = os.clock();
	while os.clock() - begun < 0.6 do end -- computes
end

module:hook("message/host", function (event)
	local what = event.stanza:get_child_text("body");
	if what == "wait" then
		wait();
	elseif what == "compute" then
		compute();
	elseif what == "timer" then
		module:add_timer(0.01, wait); -- sets a timer
	end
	return true;
end);
