-- The same echo on any net.server backend: the subject is the backend, so this file treats all of them alike.
--
-- usage: lua5.4 echo_server.lua BACKEND PORT [CERTIFICATE]        BACKEND: epoll, event, select or trochee
--
-- With CERTIFICATE, the path of a certificate and its key without .crt and .key, the port is TLS from the first byte on.
-- Stock backends come from PROSODY_SOURCEDIR; trochee from LUA_PATH and LUA_CPATH, its poller from TROCHEE_POLLER.

local here = arg[0]:match("^(.*)/") or ".";
local backend, port, certificate = arg[1], tonumber(arg[2]), arg[3];
local server = dofile(here .. "/backend.lua")(backend);

local listener = {
	onconnect = function () end;
	onincoming = function (conn, data) conn:write(data); end;
	ondisconnect = function () end;
};

local config = { read_size = "*a" };
if certificate then
	config.tls_direct, config.tls_ctx = true, dofile(here .. "/tls_context.lua")(certificate);
end

assert(server.listen("127.0.0.1", port, listener, config));

-- The harness waits for this line and checks that the backend is the one that it means to measure.
print("ready " .. port .. " " .. server.get_backend());
io.stdout:flush();

server.loop();
