-- What modules read of a handle and of its socket beyond reading and writing: items 130 and 131 of the contract.

local t = require "harness"

t.item(130, "conn.id is a string of its own for each connection", function (s)
	local first, second = s.pair(), s.pair()
	s.eq(type(first.id), "string", "the type of an id")
	s.eq(type(second.id), "string", "the type of the other id")
	s.ok(first.id ~= second.id, "two connections have two ids")
	-- As modules use it
	s.ok(("conn %s"):format(first.id):find(first.id, 1, true))
end, { stock = { select = { "not offered: its handles have no id", match = "the type of an id" } } })

t.item(131, "conn:socket():getoption gives LuaSocket's values by LuaSocket's names", function (s)
	local conn = s.pair()
	local sock = conn:socket()
	s.ok(sock.getoption, "conn:socket() has getoption")
	conn:setoption("keepalive", true)
	s.eq(sock:getoption "keepalive", true, "keepalive")
	conn:setoption("keepalive", false)
	s.eq(sock:getoption "keepalive", false, "keepalive switched off")
	conn:setoption("tcp-nodelay", true)
	s.eq(sock:getoption "tcp-nodelay", true, "tcp-nodelay")
	s.eq(type(sock:getoption "reuseaddr"), "boolean", "reuseaddr")
	for _, name in ipairs { "recv-buffer-size", "send-buffer-size", "tcp-keepidle", "tcp-keepintvl", "tcp-keepcnt" } do
		local value = sock:getoption(name)
		s.ok(math.type(value) and value > 0, name.." is "..tostring(value))
	end
	local linger = sock:getoption "linger"
	s.eq(linger.on, false, "linger.on")
	s.eq(linger.timeout, 0, "linger.timeout")
	s.eq(sock:getoption "error", nil, "no error")
	if s.is_trochee then
		s.eq(select(2, sock:getoption "frobnicate"), "unsupported option 'frobnicate'")
		s.eq(select(2, sock:getoption(7)), "an option's name must be a string, not 7")
		conn:destroy()
		s.eq(select(2, sock:getoption "keepalive"), "closed")
	end
end)
