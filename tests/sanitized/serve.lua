-- What `drive` talks to: serve.lua CERTIFICATE ANOTHER, paths without .crt and .key. It prints its two ports, and then serves until it
-- is told to quit. Poller and I/O threads come from TROCHEE_POLLER and TROCHEE_IO_THREADS.
--
-- The first port is plain, with one command a line, and echoes every other line. The second is TLS from the first byte, and
-- echoes all. There is nothing of Prosody here, so that what a tool reports is trochee's, Lua's or LuaSec's.

local server = require "net.server_trochee";
local newcontext = require "ssl".newcontext;

local certificates = { arg[1], arg[2] };
local loaded = 0;

local function server_context()
	loaded = loaded % #certificates + 1;
	local path = certificates[loaded];
	return assert(newcontext { mode = "server", protocol = "sslv23", certificate = path .. ".crt", key = path .. ".key" });
end

local client_context = assert(newcontext { mode = "client", protocol = "sslv23", verify = "none" });
local tls_context = server_context();
local tls_port, tls_server;
local commands = {};

function commands.starttls(conn)
	conn:write("proceed\n");
	conn:starttls(tls_context);
end

-- As Prosody does it: a new context, and the old one is the collector's, while connections may still use it
function commands.reload(conn)
	tls_context = server_context();
	tls_server:set_sslctx(tls_context);
	collectgarbage();
	collectgarbage();
	conn:write("reloaded\n");
end

-- A certificate that cannot be loaded
function commands.damage(conn)
	local ok = newcontext { mode = "server", protocol = "sslv23", certificate = arg[0], key = arg[0] };
	conn:write(ok and "loaded\n" or "refused\n");
end

-- To the other port of this process, as a client
function commands.connect(conn)
	local client = {};
	function client.onconnect(outgoing)
		outgoing:write("outgoing");
	end
	function client.onincoming(outgoing, data)
		conn:write(data .. "\n");
		outgoing:close();
	end
	function client.ondisconnect(_, err)
		if err then
			conn:write("failed: " .. err .. "\n");
		end
	end
	assert(server.addclient("127.0.0.1", tls_port, client, "*a", client_context));
end

-- Timers that fire, that are stopped, and one for which the answer waits
function commands.timers(conn)
	for i = 1, 100 do
		server.timer.stop(server.add_task(i, function () end));
		server.add_task(i / 10000, function () end);
	end
	server.add_task(0.05, function () conn:write("fired\n"); end);
end

-- More than the system takes at once
function commands.flood(conn)
	conn:write(("x"):rep(4 * 1024 * 1024) .. "\n");
end

function commands.fail()
	error("a listener that fails");
end

function commands.quit()
	server.setquitting(true);
end

local plain = {};

function plain.onincoming(conn, data)
	conn.rest = (conn.rest or "") .. data;
	local last = conn.rest:find("\n", 1, true);
	while last do
		local line = conn.rest:sub(1, last - 1);
		conn.rest = conn.rest:sub(last + 1);
		if commands[line] then
			commands[line](conn);
		else
			conn:write(line .. "\n");
		end
		last = conn.rest:find("\n", 1, true);
	end
end

local echo = {};

function echo.onincoming(conn, data)
	conn:write(data);
end

local plain_port = tonumber(arg[3]);
tls_port = tonumber(arg[4]);
assert(server.listen("127.0.0.1", plain_port, plain));
tls_server = assert(server.listen("127.0.0.1", tls_port, echo, { tls_direct = true, tls_ctx = tls_context }));
io.stdout:write("ready ", server.get_backend(), "\n");
io.stdout:flush();
server.loop();
-- lua5.4 closes the state at the end of its program. What a tool then still finds is a leak.
