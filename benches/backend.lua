-- Loads one net.server backend in plain Lua, in the conditions that Prosody gives it.

return function (backend)
	if backend ~= "trochee" then
		local source = os.getenv("PROSODY_SOURCEDIR") or "/usr/lib/prosody";
		package.path = source .. "/?.lua;" .. package.path;
		package.cpath = source .. "/?.so;" .. package.cpath;
	end

	-- Prosody's defaults (util/startup.lua), not Lua's: a collector that works harder and keeps the heap smaller.
	-- Garbage is a large part of what a backend costs, so it is paid for here as it is paid for there.
	collectgarbage("incremental", tonumber(os.getenv("BENCH_GC_THRESHOLD") or 105), 500);

	local server = require("net.server_" .. backend);
	server.get_backend = server.get_backend or function () return backend; end; -- as net/server.lua does
	package.loaded["net.server"] = server; -- for util.timer
	local most = tonumber(os.getenv("BENCH_MAX_CONNECTIONS"));
	if most and backend == "trochee" then
		-- Nobody authenticates here, so all of them are newcomers
		server.set_config { max_connections = most, max_newcomers = most, max_waiting_handshakes = most };
	end
	return server;
end
