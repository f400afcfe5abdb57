-- Items 150 and 151: the log says why a connection has ended.

local t = require "harness"

local not_offered = "not offered: no line of the log has the end of a connection with its reason, addresses, time and bytes"

-- The line about the end of a connection: the fixed form of docs/monitoring.md
local function line(id, reason, bytes_in, bytes_out)
	return ("^%s ended: %s; 127%%.0%%.0%%.1 %%d+, 127%%.0%%.0%%.1 %%d+; %%d+%%.%%d%%d s, %s bytes in, %s bytes out; %%-$")
		:format(id, reason, bytes_in or "%d+", bytes_out or "%d+")
end

t.item(150, "every end of a connection is in the log at debug, once: who, why, its addresses, how long and how much", function (s)
	local all = {}
	local function ends(conn, reason, bytes_in, bytes_out)
		table.insert(all, conn.id)
		s.wait(function () return s.logged(line(conn.id, reason, bytes_in, bytes_out), "debug") end, s.is_trochee and 5 or 0.5,
			"the line about "..reason)
	end
	local function echo()
		local conn, peer, rec = s.pair { onincoming = function (conn, data) conn:write(data) end }
		s.ok(s.logged("^New connection .*: "..tostring(conn.id).."$", "debug") or not s.is_trochee, "the line about its beginning")
		return conn, peer, rec
	end

	local conn, peer = echo()
	peer:send("hello")
	s.eq(peer:receive_until(5), "hello")
	peer:close()
	ends(conn, "closed by the peer", 5, 5)

	conn, peer = echo()
	peer:reset()
	ends(conn, "cut off by the peer", 0, 0)

	conn, peer = echo()
	conn:close()
	ends(conn, "closed here", 0, 0)
	s.ok(peer:closed())

	conn, peer = echo()
	conn:write("goodbye")
	conn:close()
	s.eq(peer:receive_until(7), "goodbye")
	ends(conn, "closed here", 0, 7)

	conn = echo()
	conn:destroy()
	ends(conn, "destroyed here", 0, 0)

	conn = echo()
	conn:setreadtimeout(0.05)
	ends(conn, "read timeout", 0, 0)

	s.settings { max_send_buffer_size = 1000 }
	conn = echo()
	-- More than the system takes for the peer
	conn:write(("x"):rep(20000000))
	conn:write(("x"):rep(1000))
	ends(conn, "no space left in buffer", 0)
	s.settings {}

	local client = s.server.addclient("127.0.0.1", s.free_port(), s.recorder(), "*a")
	ends(client, "connection refused", 0, 0)

	s.settings { newcomer_data_timeout = 0.05 }
	local rec = s.recorder()
	local listening, port = s.listen(rec)
	listening:set_authenticated(false)
	peer = s.peer(port)
	conn = s.wait(function () return rec.conns[1] end, 5, "the newcomer")
	ends(conn, "nothing was sent in time", 0, 0)
	s.settings {}

	for _, id in ipairs(all) do
		local count = 0
		for _, logged in ipairs(s.log) do
			count = count + (logged[2]:find("^"..id.." ended: ") and 1 or 0)
		end
		s.eq(count, 1, "lines about the end of "..id)
	end
end, { stock = { epoll = not_offered, event = not_offered, select = not_offered } })

t.item(151, "a failed handshake on a port for direct TLS leaves one line with its reason, in OpenSSL's words, and the address", function (s)
	local tls = require "tls_support" (s)
	s.settings { ssl_handshake_timeout = 0.2 }
	local cert = tls.cert("localhost")
	local function listen(cfg)
		local _, port = tls.listen(s.recorder(), tls.server(cert, cfg))
		return port
	end
	local port = listen()
	local known = 0
	local function failed(reason)
		local pattern = line("conn%d+", "TLS handshake: "..reason, 0)
		s.wait(function ()
			local count = 0
			for _, logged in ipairs(s.log) do
				count = count + (logged[1] == "debug" and logged[2]:find("^conn%d+ ended: ") and 1 or 0)
			end
			return count > known
		end, s.is_trochee and 5 or 0.5, "the end of a connection")
		known = known + 1
		local last
		for _, logged in ipairs(s.log) do
			last = logged[2]:find("^conn%d+ ended: ") and logged[2] or last
		end
		s.ok(last:find(pattern), ("expected %s, got %s"):format(reason, last))
	end

	local peer = s.peer(port)
	peer:send("GET / HTTP/1.1\r\n\r\n")
	failed("http request")

	peer = s.peer(port)
	peer:send("<?xml version='1.0'?><stream:stream>")
	failed("wrong version number")

	s.eq(tls.connect(listen { protocol = "tlsv1_3" }, { mode = "client", protocol = "tlsv1_2" }), nil)
	failed("unsupported protocol")

	s.eq(tls.connect(port, { mode = "client", protocol = "tlsv1_2", ciphers = "AES128-GCM-SHA256" }), nil)
	failed("no shared cipher")

	s.eq(tls.connect(port, { mode = "client", protocol = "tlsv1_2", verify = { "peer" }, cafile = tls.cert("stranger").certificate }), nil)
	failed("tlsv1 alert unknown ca")

	peer = s.peer(port)
	s.ok(peer:closed(5), "the end of a silent peer")
	failed("connection timeout")

	-- Who only leaves
	peer = s.peer(port)
	peer:close()
	failed("closed by the peer")
end, { stock = { epoll = not_offered, event = not_offered, select = not_offered } })
