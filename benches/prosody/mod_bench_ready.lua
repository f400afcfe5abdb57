-- Tells the harness that the server serves, and on which backend; it expects the line of echo_server.lua.

local server = require "net.server";

module:hook_global("server-started", function ()
	io.stdout:write(("ready %d %s\n"):format(module:get_option_number("bench_port"), server.get_backend()));
	io.stdout:flush();
end);
