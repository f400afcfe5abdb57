-- What scripts/instructions counts: serve.lua PORT [TLS_PORT CERTIFICATE], the last a path without .crt and .key.
--
-- The first byte of a connection says what it is for: `e` echoes, `s` is silent, `w` writes 64 KiB for each message, `t` sets and stops
-- a timer for each. `q` ends the program. The second port is the same over TLS. It is there only when it is asked for, because nobody can tell
-- beforehand how many instructions random numbers take.

local server = require "net.server_trochee";

local port, tls_port, certificate = tonumber(arg[1]), tonumber(arg[2]), arg[3];
local block = ("x"):rep(64 * 1024);
local answers = {};

function answers.e(conn, data)
	conn:write(data);
end

function answers.s()
end

function answers.w(conn)
	conn:write(block);
end

local function never()
end

function answers.t(conn)
	server.timer.stop(server.add_task(60, never));
	conn:write("t");
end

function answers.q()
	server.setquitting(true);
end

local listener = {};

function listener.onincoming(conn, data)
	conn.onincoming = answers[data:sub(1, 1)];
	conn:onincoming(data);
end

server.set_config { slow_callback = tonumber(os.getenv "TROCHEE_SLOW_CALLBACK") or false };
collectgarbage("incremental", 105, 500); -- Prosody's defaults
assert(server.listen("127.0.0.1", port, listener, { read_size = 64 * 1024 }));
if certificate then
	assert(server.listen("127.0.0.1", tls_port, listener, {
		read_size = 64 * 1024;
		tls_direct = true;
		tls_ctx = assert(require "ssl".newcontext {
			mode = "server", protocol = "sslv23", certificate = certificate .. ".crt", key = certificate .. ".key",
		});
	}));
end
print("ready");
io.stdout:flush();
server.loop();
