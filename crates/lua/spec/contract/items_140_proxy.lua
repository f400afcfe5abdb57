-- Items 140 to 142: clients of proxies that speak the PROXY protocol.

local t = require "harness"
local support = require "tls_support"

local v1 = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 5222\r\n"

-- 2001:db8::7 to 2001:db8::1, with a name, a protocol, a unique id, what is known of TLS, and a type of the proxy's own
local function v2()
	local ssl = "\7\0\0\0\0".."\x21\0\7TLSv1.3".."\x22\0\6client".."\x23\0\x16TLS_AES_128_GCM_SHA256"
	local block = "\x20\x01\x0d\xb8"..("\0"):rep(11).."\7".."\x20\x01\x0d\xb8"..("\0"):rep(11).."\1"
		..(">I2I2"):pack(56324, 5222).."\1\0\x0bxmpp-client".."\2\0\6a.test".."\5\0\3id1"
		..(">Bs2"):pack(0x20, ssl).."\xe0\0\3own"
	return "\r\n\r\n\0\r\nQUIT\n\x21\x21"..(">s2"):pack(block)
end

local no_proxy_protocol = { "not offered: no PROXY protocol", match = "^the address of the client" }
local stock = { epoll = no_proxy_protocol, event = no_proxy_protocol, select = no_proxy_protocol }

-- A client of a trusted proxy, with what it says first
local function client_of_proxy(s, port, header, listener)
	local peer = s.peer(port)
	s.ok(peer:send(header))
	s.wait(function () return listener.conns[#listener.conns] end, 5, "the connection")
	return peer
end

-- Sets them, and waits until each I/O thread has heard of it, as one has that has answered
local function settings(s, wanted)
	s.settings(wanted)
	if s.is_trochee then s.server.stats() end
end

t.item(140, "PROXY protocol: the client's address in ip(), port(), serverport(); proxy_header(); a header of its own is data", function (s)
	settings(s, { proxy_protocol_trusted = { "127.0.0.0/8", "::1" } })
	local rec = s.recorder { onincoming = function (conn, data) conn:write(data) end }
	local _, port = s.listen(rec)

	local peer = client_of_proxy(s, port, v1.."hello", rec)
	local conn = rec.conns[1]
	s.eq(conn:ip(), "192.0.2.7", "the address of the client")
	s.eq(conn:port(), 56324, "port()")
	s.eq(conn:clientport(), 56324, "clientport()")
	s.eq(conn:serverport(), 5222, "serverport()")
	s.eq(conn:server():serverport(), port, "the port of the listener")
	local address, number = conn:socket():getpeername()
	s.eq(address, "192.0.2.7", "getpeername()")
	s.eq(number, 56324, "the port of getpeername()")
	s.eq(peer:receive_until(5), "hello", "what follows the header")
	s.ok(peer:send(v1))
	s.eq(peer:receive_until(#v1), v1, "a header of the client")
	local header = conn:proxy_header()
	s.eq(header.proxy_ip, "127.0.0.1", "proxy_ip")
	s.eq(header.proxy_port, math.tointeger(tonumber((select(2, peer.sock:getsockname())))), "proxy_port")
	s.eq(header.source_ip, "192.0.2.7", "source_ip")
	s.eq(header.destination_ip, "198.51.100.1", "destination_ip")
	s.eq(next(header.tlvs), nil, "tlvs in version 1")

	-- In pieces; nobody hears of it before it is complete
	peer = s.peer(port)
	local whole = v2()
	for i = 1, #whole - 1, 40 do
		s.ok(peer:send(whole:sub(i, math.min(i + 39, #whole - 1))))
		s.sleep(0.02)
	end
	s.eq(#rec.conns, 1, "connections before the header is complete")
	s.ok(peer:send(whole:sub(-1)))
	s.wait(function () return rec.conns[2] end, 5, "the connection")
	conn = rec.conns[2]
	s.eq(conn:ip(), "2001:db8::7", "ip()")
	header = conn:proxy_header()
	s.eq(header.authority, "a.test", "authority")
	s.eq(header.alpn, "xmpp-client", "alpn")
	s.eq(header.unique_id, "id1", "unique_id")
	s.eq(header.tls.version, "TLSv1.3", "tls.version")
	s.eq(header.tls.cipher, "TLS_AES_128_GCM_SHA256", "tls.cipher")
	s.eq(header.tls.common_name, "client", "tls.common_name")
	s.eq(header.tls.is_verified, true, "tls.is_verified")
	s.eq(header.tlvs[0xe0], "own", "a type of the proxy's own")
	conn:destroy()
	s.eq(conn:proxy_header(), nil, "after the end")

	-- A health check
	client_of_proxy(s, port, "PROXY UNKNOWN\r\n", rec)
	s.wait(function () return rec.conns[3] end, 5, "the check")
	s.eq(rec.conns[3]:ip(), "127.0.0.1", "a proxy that speaks for itself")
	s.eq(rec.conns[3]:proxy_header().source_ip, nil, "its source_ip")

	-- No header: closed, and the log names the setting
	peer = s.peer(port)
	s.ok(peer:send("<stream:stream>"))
	s.ok(peer:closed(5), "a trusted source without a header is disconnected")
	s.eq(#rec.conns, 3, "connections")
	s.wait(function () return s.logged("proxy_protocol_trusted", "warn") end, 5, "the line in the log that names the setting")

	-- A reload counts for whoever comes next
	settings(s, { proxy_protocol_trusted = { "192.0.2.0/24" } })
	client_of_proxy(s, port, v1, rec)
	s.wait(function () return rec.conns[4] end, 5, "the connection")
	s.eq(rec.conns[4]:ip(), "127.0.0.1", "who is not trusted")
	s.wait(function () return rec.data[rec.conns[4]] == v1 end, 5, "its header as data")
	s.eq(rec.conns[4]:proxy_header(), nil, "its proxy_header()")
	settings(s, {})
end, { stock = stock })

t.item(141, "PROXY protocol before direct TLS and STARTTLS: SNI and handshake as ever, the client's address in onconnect", function (s)
	local tls = support(s)
	local cert = tls.cert("a.test")
	settings(s, { proxy_protocol_trusted = { "loopback" } })
	local seen
	local rec = s.recorder { onconnect = function (conn) seen = conn:ip() end, onincoming = function (conn, data) conn:write(data) end }
	local _, port = tls.listen(rec, tls.server(cert))
	for _, header in ipairs { v1, v2() } do
		seen = nil
		local raw = s.peer(port)
		s.ok(raw:send(header))
		local peer = tls.handshake(raw, nil, "a.test")
		s.ok(peer, "the address of the client: no TLS behind the header")
		s.eq(tls.common_name(peer), "a.test", "the certificate")
		s.wait(function () return seen end, 5, "onconnect")
		s.eq(seen, header == v1 and "192.0.2.7" or "2001:db8::7", "ip() in onconnect")
		s.ok(peer:send("hello"))
		s.eq(peer:receive_until(5), "hello", "the echo over TLS")
		peer:close()
	end

	local server_ctx = tls.server(cert)
	rec = s.recorder { onincoming = function (conn, data)
		if data == "starttls" then
			conn:write("proceed")
			conn:starttls(server_ctx)
		else
			conn:write(data)
		end
	end }
	_, port = s.listen(rec)
	local raw = s.peer(port)
	s.ok(raw:send(v1.."starttls"))
	s.eq(raw:receive_until(7), "proceed", "the answer to starttls")
	local peer = s.ok(tls.handshake(raw))
	s.ok(peer:send("hello"))
	s.eq(peer:receive_until(5), "hello", "the echo over STARTTLS")
	s.eq(rec.conns[1]:ip(), "192.0.2.7", "ip() over STARTTLS")
	settings(s, {})
end, { stock = stock })

t.item(142, "PROXY protocol: late, split for ever, oversized; ports; settings that are wrong keep what was", function (s)
	settings(s, { proxy_protocol_trusted = { "127.0.0.1" }, proxy_protocol_timeout = 0.2 })
	local rec = s.recorder()
	local _, port = s.listen(rec)
	for what, bytes in pairs {
		late = "PROXY TCP4 192.0", oversized = "\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", endless = "PROXY "..("x"):rep(200), silent = "",
		command = "\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0", family = "\r\n\r\n\0\r\nQUIT\n\x21\x51\0\0",
	} do
		local peer = s.peer(port)
		if bytes ~= "" then s.ok(peer:send(bytes)) end
		s.ok(peer:closed(5), "the address of the client: still connected, "..what)
	end
	-- A byte at a time does not put the end off
	local peer, began = s.peer(port), s.now()
	local header = v2()
	for i = 1, #header do
		if not peer:send(header:sub(i, i)) or peer:closed(0.02) then break end
	end
	s.ok(peer:closed(5), "still connected, slow")
	s.ok(s.now() - began < 5, "the time for a slow header")
	s.eq(#rec.conns, 0, "connections")

	local _, other = s.listen(rec)
	settings(s, { proxy_protocol_trusted = { "127.0.0.1" }, proxy_protocol_ports = { other } })
	s.peer(port)
	s.wait(function () return rec.conns[1] end, 5, "a connection to a port without proxies")
	client_of_proxy(s, other, v1, rec)
	s.wait(function () return rec.conns[2] end, 5, "a connection to a port with proxies")
	s.eq(rec.conns[2]:ip(), "192.0.2.7")

	settings(s, { proxy_protocol_trusted = { "127.0.0.1", "192.0.2.0/33" }, proxy_protocol_ports = { 0 } })
	s.ok(s.logged('proxy_protocol_trusted must be .*, not one with "192.0.2.0/33"; keeping { "127.0.0.1" }', "error"), "the message")
	s.ok(s.logged("proxy_protocol_ports must be .*, not one with something else; keeping { "..other.." }", "error"), "the message")
	client_of_proxy(s, other, v1, rec)
	s.wait(function () return rec.conns[3] end, 5, "what was set before is in force")
	s.eq(rec.conns[3]:ip(), "192.0.2.7")
	settings(s, {})
end, { stock = stock, logs_errors = true })
