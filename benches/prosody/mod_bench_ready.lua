-- Tells the harness that the server serves, and on which backend; it expects the line of echo_server.lua. Also begins each transfer by
-- proxy65 that two clients have joined, as a client's query would have mod_proxy65 do.

local server = require "net.server";

module:hook_global("server-started", function ()
	io.stdout:write(("ready %d %s\n"):format(module:get_option_number("bench_port"), server.get_backend()));
	io.stdout:flush();
end);

local MOST = 4096; -- mod_proxy65's

if #module:get_option_array("proxy65_ports", {}) > 0 then
	local transfers = module:shared("/*/proxy65/transfers");
	module:add_timer(0.05, function ()
		for _, transfer in pairs(transfers) do
			if transfer.initiator and not transfer.activated then
				transfer.activated = true;
				server.link(transfer.initiator, transfer.target, MOST);
				server.link(transfer.target, transfer.initiator, MOST);
				transfer.target:resume();
				transfer.initiator:resume();
			end
		end
		return 0.05;
	end);
end
