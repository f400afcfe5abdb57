-- The same echo on any net.server backend: the subject is the backend, so this file treats all of them alike.
--
-- usage: lua5.4 echo_server.lua BACKEND PORT        BACKEND: epoll, event, select or trochee
--
-- Stock backends come from PROSODY_SOURCEDIR; trochee from LUA_PATH and LUA_CPATH, its poller from TROCHEE_POLLER.

local here = arg[0]:match("^(.*)/") or ".";
local backend, port = arg[1], tonumber(arg[2]);
local server = dofile(here .. "/backend.lua")(backend);

local listener = {
	onconnect = function () end;
	onincoming = function (conn, data) conn:write(data); end;
	ondisconnect = function () end;
};

assert(server.listen("127.0.0.1", port, listener, { read_size = "*a" }));

-- The harness waits for this line and checks that the backend is the one that it means to measure.
print("ready " .. port .. " " .. server.get_backend());
io.stdout:flush();

server.loop();
