-- An echo server without Prosody: lua5.4 examples/lua/echo.lua [epoll|poll|select|libevent] [PORT]
-- Needs LUA_PATH='dist/lua/?.lua;;' and LUA_CPATH='dist/lua/?.so;;', which `make build` fills.

local server = require "net.server_trochee";

local poller, port = arg[1] or "auto", tonumber(arg[2]) or 7007;

server.set_config({ poller = poller, read_timeout = 300 });

local listeners = {};

function listeners.onconnect(conn)
	print(("%s:%d connected"):format(conn:ip(), conn:clientport()));
end

function listeners.onincoming(conn, data)
	conn:write(data);
end

function listeners.ondisconnect(conn, err)
	if conn:server() == conn then return; end -- the listening one, as in server_epoll
	print(("%s:%d left (%s)"):format(conn:ip(), conn:clientport(), err or "closed here"));
end

assert(server.listen("127.0.0.1", port, listeners));
server.hook_signal(2, function () server.setquitting(true); end); -- Ctrl-C
print(("echo on 127.0.0.1:%d, backend %s"):format(port, server.get_backend()));
server.loop();
