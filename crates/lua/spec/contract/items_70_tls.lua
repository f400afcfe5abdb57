-- Items 70 to 78: contexts, STARTTLS, direct TLS, SNI, ALPN.

local t = require "harness"
local support = require "tls_support"
local ssl = require "ssl"

-- Where in rec.events a callback of conn is; nil when it did not run
local function position(rec, name, conn)
	for i, event in ipairs(rec.events) do
		if event[1] == name and event[2] == conn then return i end
	end
end

local function disconnected(s, rec, conn)
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.sleep(0.05)
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
	return rec.disconnects[conn][1]
end

local function echo(s, conn, rec, peer)
	local before = #rec.data[conn]
	s.ok(peer:send("ping"))
	s.wait(function () return rec.data[conn]:sub(before + 1) == "ping" end, 5, "data through TLS")
	s.ok(conn:write("pong"))
	s.eq(peer:receive_until(4), "pong", "data through TLS, the other way")
end

t.item(70, "a context serves in both directions; so do, except on stock 13.0, LuaSec's, changed or not, and a raw table",
function (s)
	local tls = support(s)
	local cert = tls.cert("example.com")
	local raw = {
		mode = "server", protocol = "sslv23", certificate = cert.certificate, key = cert.key, options = { "no_sslv3" },
	}
	local servers, clients = { context = tls.server(cert) }, { context = tls.client() }
	if s.is_trochee or s.version == "0.12" then
		servers.raw, servers.luasec, servers.changed = raw, ssl.newcontext(raw), ssl.newcontext(raw)
		s.ok(require "ssl.context".setcipher(servers.changed, "ECDHE-ECDSA-AES256-GCM-SHA384"))
		clients.raw = { mode = "client", protocol = "sslv23" }
		clients.luasec = ssl.newcontext(clients.raw)
	end
	local rec = s.recorder()
	for name, ctx in pairs(servers) do
		local listening, port = tls.listen(rec, ctx)
		local peer, err = tls.connect(port, { mode = "client", protocol = "tlsv1_2" })
		s.ok(peer, ("handshake with a %s: %s"):format(name, tostring(err)))
		if name == "changed" then
			s.eq(peer.sock:info("cipher"), "ECDHE-ECDSA-AES256-GCM-SHA384", "the cipher that was set later")
		end
		local conn = s.wait(function () return rec.conns[#rec.conns] end)
		echo(s, conn, rec, peer)
		peer:close()
		disconnected(s, rec, conn)
		listening:close()
		rec.conns[#rec.conns] = nil
	end
	-- The connecting end, to a LuaSec server
	for name, ctx in pairs(clients) do
		local far = s.peer_server()
		local client_rec = s.recorder()
		local conn = s.server.addclient("127.0.0.1", far.port, client_rec, "*a", ctx)
		s.ok(conn, "addclient with a "..name)
		local peer, err = tls.handshake(far:accept(), tls.server(cert))
		s.ok(peer, ("handshake of addclient with a %s: %s"):format(name, tostring(err)))
		s.wait(function () return client_rec.conns[1] end, 5, "onconnect")
		echo(s, conn, client_rec, peer)
		conn:close()
		far:close()
	end
	s.eq(select(2, pcall(ssl.newcontext, { mode = "server", protocol = "no such" })), nil, "an unknown protocol")
end)

t.item(71, "starttls right after a write: that goes out in plaintext first, and nothing that follows in plaintext is read",
function (s)
	local tls = support(s)
	local ctx = tls.server(tls.cert("example.com"))
	local rec = s.recorder({
		onincoming = function (conn, data)
			if data:find("<starttls/>", 1, true) then
				conn:write("<proceed/>")
				conn:starttls(ctx)
			end
		end,
	})
	local conn, peer = s.pair(rec)
	peer:send("<starttls/>")
	s.eq(peer:receive_until(#"<proceed/>"), "<proceed/>", "what was written before")
	peer = s.ok(tls.handshake(peer))
	echo(s, conn, rec, peer)
	peer:close()
	disconnected(s, rec, conn)

	-- An attacker in the middle appends a command of his own to the client's last plaintext: in the same segment, of which
	-- the backend reads a part at first; or while the answer waits behind others
	local backlog = ("x"):rep(8 * 1024 * 1024)
	for _, together in ipairs { true, false } do
		local seen = #rec.events
		rec.overrides.onincoming = function (c, data)
			if data:find("<starttls/>", 1, true) then
				if not together then c:write(backlog) end
				c:write("<proceed/>")
				c:starttls(ctx)
			end
		end
		conn, peer = s.pair(rec, { read_size = #"<starttls/>" })
		if together then
			peer:send("<starttls/><injected/>")
		else
			peer:send("<starttls/>")
			s.wait(function () return rec.data[conn] ~= "" end)
			peer:send("<injected/>")
		end
		s.sleep(0.2)
		for i = seen + 1, #rec.events do
			local event = rec.events[i]
			if event[1] == "onincoming" and event[3]:find("injected", 1, true) then
				s.fail("plaintext that came after starttls() was delivered")
			end
		end
		peer:close()
		disconnected(s, rec, conn)
	end

	-- Or he ends the client's side: what is written then is no plaintext either
	rec.overrides.onincoming = function (c)
		c:starttls(ctx)
		c:write("secret")
	end
	conn, peer = s.pair(rec)
	s.server.add_task(0, function ()
		peer.sock:send("<starttls/>")
		peer:shutdown_write()
	end)
	local _, _, sent = peer:receive_until("secret", 0.3)
	s.eq(sent, "", "what was written after starttls()")
	disconnected(s, rec, conn)

	-- mod_tls of 13.0 says so before it answers
	for _, eager in ipairs { true, false } do
		local blocked_rec = s.recorder({
			onincoming = function (c)
				if c.block_reads then c:block_reads() end
				s.server.add_task(0.1, function ()
					c:write("<proceed/>")
					c:starttls(ctx)
				end)
			end,
		})
		conn, peer = s.pair(blocked_rec)
		peer:send("<starttls/>")
		if conn.block_reads and eager then
			s.wait(function () return blocked_rec.data[conn] ~= "" end)
			peer:send("<injected/>")
		end
		peer:receive_until(#"<proceed/>")
		if conn.block_reads and eager then
			s.sleep(0.1)
			s.eq(blocked_rec.data[conn], "<starttls/>", "what was delivered after block_reads()")
		else
			blocked_rec.overrides.onincoming = nil
			peer = s.ok(tls.handshake(peer))
			echo(s, conn, blocked_rec, peer)
		end
		peer:close()
		disconnected(s, blocked_rec, conn)
	end
	s.ok(conn.block_reads or not s.is_trochee, "block_reads exists")

	-- ClientHello in the same segment as what asks for TLS, as a client does that does not wait
	local hello_rec = s.recorder({
		onincoming = function (c)
			c:write("<proceed/>")
			c:starttls(ctx)
		end,
	})
	conn, peer = s.pair(hello_rec, { read_size = 11 })
	local left, right = tls.socket.tcp4(), tls.socket.bind("127.0.0.1", 0)
	local _, port = right:getsockname()
	left:connect("127.0.0.1", port)
	local accepted = right:accept()
	accepted:settimeout(0)
	left:settimeout(0)
	local client = ssl.wrap(left, { mode = "client", protocol = "sslv23" })
	client:settimeout(0)
	client:dohandshake()
	s.sleep(0.02)
	local _, _, hello = accepted:receive("*a")
	peer:send("<starttls/>"..hello)
	peer:receive_until(#"<proceed/>")
	if s.is_trochee then
		-- The answer is a ServerHello, however the segments fell
		local answer = s.ok(peer:receive_until(5), "an answer to an early ClientHello")
		s.eq(answer:byte(1), 22, "the answer's record type")
	end
	client:close()
	accepted:close()
	right:close()
	peer:close()
end, { stock = {
	epoll = { "goes on reading plaintext between starttls() and the handshake, and delivers it: STARTTLS injection", match = "plaintext" },
	select = { "goes on reading plaintext between starttls() and the handshake, and delivers it: STARTTLS injection", match = "plaintext" },
} })

t.item(72, "conn.starttls is truthy, then falsy; ssl() is true only with TLS; a second starttls() is harmless", function (s)
	local tls = support(s)
	local ctx = tls.server(tls.cert("example.com"))
	local conn, peer, rec = s.pair()
	s.ok(conn.starttls, "starttls of a fresh connection")
	s.ok(not conn:ssl(), "ssl() of a plain connection")
	local plain = conn:socket()
	for _, name in ipairs { "info", "getpeercertificate", "getpeerverification", "getsniname", "getalpn", "dohandshake" } do
		local ok, value = pcall(function () return plain[name] end)
		s.ok(ok and value == nil, name.." of a plain connection's socket()")
	end
	local starttls = conn.starttls
	conn:starttls(ctx)
	s.ok(not conn.starttls, "starttls once it was used")
	peer = s.ok(tls.handshake(peer))
	s.wait(function () return rec.count("onstatus", conn) == 1 end)
	s.ok(conn:ssl(), "ssl() with TLS")
	if s.is_trochee then
		-- Stock epoll and select start another handshake inside the first
		starttls(conn, ctx)
		s.sleep(0.05)
	end
	echo(s, conn, rec, peer)
	s.ok(conn:socket().info, "info of a TLS socket")
	peer:close()
	disconnected(s, rec, conn)
	if s.is_trochee then
		starttls(conn, ctx)
		s.eq(conn:socket(), nil)
	end

	local listening, port = tls.listen(rec, ctx)
	peer = s.ok(tls.connect(port))
	conn = s.wait(function () return rec.conns[2] end)
	s.ok(not conn.starttls, "starttls of a direct TLS connection")
	s.ok(conn:ssl(), "ssl() of a direct TLS connection")
	peer:close()
	listening:close()

	-- As mod_websocket does
	conn = s.pair()
	conn.starttls = false
	s.ok(not conn.starttls)
	conn:close()
end)

t.item(73, "onstatus says ssl-handshake-complete once, before onconnect on direct TLS; STARTTLS repeats no onconnect",
function (s)
	local tls = support(s)
	local cert = tls.cert("example.com")
	local ctx = tls.server(cert)

	local rec = s.recorder()
	local listening, port = tls.listen(rec, ctx)
	local raw = s.peer(port)
	s.sleep(0.1)
	s.eq(#rec.events, rec.count("onstarttls"), "callbacks before the handshake")
	local peer = s.ok(tls.handshake(raw))
	local conn = s.wait(function () return rec.conns[1] end)
	echo(s, conn, rec, peer)
	s.eq(rec.count("onconnect", conn), 1, "onconnect of direct TLS")
	s.eq(rec.count("onstatus", conn), 1, "onstatus of direct TLS")
	s.eq(rec.events[position(rec, "onstatus", conn)][3], "ssl-handshake-complete")
	s.ok(position(rec, "onstatus", conn) < position(rec, "onconnect", conn), "onstatus before onconnect")
	peer:close()
	disconnected(s, rec, conn)
	listening:close()

	-- The connecting end
	local far = s.peer_server()
	local client_rec = s.recorder()
	conn = s.server.addclient("127.0.0.1", far.port, client_rec, "*a", tls.client())
	raw = far:accept()
	s.sleep(0.1)
	s.eq(client_rec.count("onconnect"), 0, "onconnect before the handshake")
	peer = s.ok(tls.handshake(raw, ctx))
	s.wait(function () return client_rec.conns[1] end)
	s.eq(client_rec.conns[1], conn, "the handle in onconnect")
	echo(s, conn, client_rec, peer)
	s.eq(client_rec.count("onconnect", conn), 1, "onconnect of a client")
	s.eq(client_rec.count("onstatus", conn), 1, "onstatus of a client")
	s.ok(position(client_rec, "onstatus", conn) < position(client_rec, "onconnect", conn), "a client's onstatus before onconnect")
	conn:close()
	far:close()

	-- Who closes in onstatus hears no more than ondisconnect
	for _, direct in ipairs { true, false } do
		local closing = s.recorder({ onstatus = function (c) c:write("bye") c:close() end })
		if direct then
			listening, port = tls.listen(closing, ctx)
			raw = s.peer(port)
		else
			far = s.peer_server()
			s.server.addclient("127.0.0.1", far.port, closing, "*a", tls.client())
			raw = far:accept()
			listening = far
		end
		peer = tls.handshake(raw, not direct and ctx or nil)
		s.wait(function () return closing.count("ondisconnect") > 0 end, 5, "ondisconnect after close() in onstatus")
		s.sleep(0.05)
		s.eq(closing.count("onconnect"), 0, "onconnect after close() in onstatus")
		s.eq(closing.count("ondisconnect"), 1, "ondisconnect after close() in onstatus")
		if peer then peer:close() end
		listening:close()
	end

	-- STARTTLS
	local starttls_rec
	conn, peer, starttls_rec = s.pair()
	conn:starttls(ctx)
	peer = s.ok(tls.handshake(peer))
	echo(s, conn, starttls_rec, peer)
	s.eq(starttls_rec.count("onconnect", conn), 1, "onconnect with STARTTLS")
	s.eq(starttls_rec.count("onstatus", conn), 1, "onstatus with STARTTLS")
	conn:close()
end, { stock = {
	epoll = { "close() in onstatus makes it throw out of loop()", match = "left server.loop" },
	["epoll-13"] = { "calls onconnect after close() in onstatus", match = "onconnect after close" },
	event = { "does not tell onstatus of the handshake on direct TLS", match = "onstatus of direct TLS" },
	select = { "calls onconnect after close() in onstatus", match = "onconnect after close" },
} })

t.item(74, "starttls(ctx, name): the name is at most what SNI asks for", function (s)
	local tls = support(s)
	local ctx = tls.server(tls.cert("example.com"))
	local far = s.peer_server()
	local rec = s.recorder()
	local conn = s.server.addclient("127.0.0.1", far.port, rec, "*a")
	local peer = far:accept()
	s.wait(function () return rec.conns[1] end)
	conn:starttls(tls.client(), "example.com")
	peer = s.ok(tls.handshake(peer, ctx))
	s.wait(function () return rec.count("onstatus") == 1 end, 5, "onstatus")
	local name = peer.sock:getsniname()
	s.ok(name == nil or name == "example.com", "the name in SNI")
	if s.is_trochee then
		s.eq(name, "example.com")
	end
	s.eq(rec.count("onconnect"), 1, "calls of onconnect")
	echo(s, conn, rec, peer)
	peer:close()
	disconnected(s, rec, conn)

	-- Incoming, it means nothing
	conn, peer, rec = s.pair()
	conn:starttls(ctx, "another.example")
	peer = s.ok(tls.handshake(peer, nil, "example.com"))
	echo(s, conn, rec, peer)
	conn:close()
	far:close()
end, { stock = {
	event = { "takes the name for a flag: onconnect runs again, onstatus never", match = "onstatus" },
} })

t.item(75, "SNI: a certificate per host, the default without a name, unknown names are refused, hosts come and go",
function (s)
	local tls = support(s)
	local rec = s.recorder()
	local default, a, b = tls.cert("default.example"), tls.cert("a.example"), tls.cert("b.example")
	local listening, port = tls.listen(rec, tls.server(default), { sni_hosts = {} })
	s.eq(tls.name_at(port), "default.example", "no hosts, no name")
	s.eq(tls.name_at(port, "a.example"), "default.example", "no hosts, a name")

	tls.host(listening, "a.example", a)
	tls.host(listening, "b.example", b)
	s.eq(tls.name_at(port, "a.example"), "a.example")
	s.eq(tls.name_at(port, "b.example"), "b.example")
	s.eq(tls.name_at(port), "default.example", "no name")
	s.sleep(0.05)
	local connected = #rec.conns
	for _, name in ipairs { "c.example", "x.a.example" } do
		local got, err = tls.name_at(port, name)
		s.eq(got, nil, "the certificate for the unknown name "..name)
		s.ok(tostring(err):find("unrecognized name", 1, true), "the alert for an unknown name: "..tostring(err))
	end
	s.sleep(0.05)
	s.eq(#rec.conns, connected, "connections with an unknown name that had onconnect")
	for _, event in ipairs(rec.events) do
		if event[1] == "ondisconnect" then s.eq(rec.disconnects[event[2]].n, 1, "ondisconnect") end
	end

	-- Connections outlive the certificate that they began with
	local peer = s.ok(tls.connect(port, nil, "a.example"))
	local conn = s.wait(function () return rec.conns[connected + 1] end)
	if s.name ~= "event" then -- item 81
		s.eq(conn:socket():getsniname(), "a.example", "getsniname")
	end
	tls.host(listening, "a.example", nil)
	s.eq(tls.name_at(port, "a.example"), nil, "a host that was removed")
	tls.host(listening, "c.example", tls.cert("c.example"))
	s.eq(tls.name_at(port, "c.example"), "c.example", "a host that was added")
	tls.host(listening, "b.example", tls.cert("new.b.example"))
	s.eq(tls.name_at(port, "b.example"), "new.b.example", "a certificate that was replaced")
	collectgarbage()
	echo(s, conn, rec, peer)
	peer:close()
	disconnected(s, rec, conn)
	listening:close()
end, { stock = {
	select = { "not offered: SNI on a listener", match = "a%.example" },
	["select-13"] = false,
} })

t.item(76, "set_sslctx: new connections get the new certificate, direct TLS included, old ones live on", function (s)
	local tls = support(s)
	local rec = s.recorder()
	local listening, port = tls.listen(rec, tls.server(tls.cert("old.example")), { sni_hosts = {} })
	local peer = s.ok(tls.connect(port))
	s.eq(tls.common_name(peer), "old.example")
	local conn = s.wait(function () return rec.conns[1] end)

	-- As portmanager does at config-reloaded
	s.ok(listening.set_sslctx, "set_sslctx of a server handle")
	local new = tls.server(tls.cert("new.example"))
	listening:set_sslctx(new)
	tls.host(listening, "host.example", tls.cert("host.example"))
	s.eq(tls.name_at(port), "new.example", "the certificate after set_sslctx")
	s.eq(tls.name_at(port, "host.example"), "host.example", "the certificate of a host")
	if listening.sslctx then
		s.eq(listening:sslctx(), new, "sslctx()")
	end
	collectgarbage()
	echo(s, conn, rec, peer)
	peer:close()
	disconnected(s, rec, conn)

	-- A context that cannot be used changes nothing
	if s.is_trochee then
		listening:set_sslctx(nil)
		s.eq(tls.name_at(port), "new.example", "the certificate after a failed reload")
		s.ok(s.logged("Keeping the TLS context", "error"), "the log of a failed reload")
		listening:set_sslctx({ mode = "server", protocol = "sslv23", certificate = tls.dir.."/absent", key = tls.dir.."/absent" })
		s.eq(tls.name_at(port), "new.example", "the certificate after a failed reload")
	end

	-- mod_tls takes whatever it gets for its new context, nil too: STARTTLS would be gone
	if s.is_trochee then
		local cert, other = tls.cert("renewed.example"), tls.cert("other.example")
		local before = tls.server(cert)
		tls.write_file(cert.key, tls.read_file(other.key))
		local kept = tls.server(cert)
		s.ok(kept == before or s.version ~= "0.12", "the context after a failed reload")
		listening:set_sslctx(kept)
		s.eq(tls.name_at(port), "renewed.example", "the certificate after a failed reload")
		s.ok(s.logged("private key does not match public key", "error"), "the log of a failed reload")
		tls.write_file(cert.certificate, other.pem)
		local after = tls.server(cert)
		s.ok(after ~= before, "a context after the files are good again")
	end
	listening:close()
end, { logs_errors = true, stock = {
	epoll = { "set_sslctx is stored and never used: direct TLS keeps the old certificate", match = "after set_sslctx" },
	event = { "set_sslctx is stored and never used: direct TLS keeps the old certificate", match = "after set_sslctx" },
	select = { "a server handle has no set_sslctx, and portmanager calls it", match = "set_sslctx" },
} })

t.item(77, "a port whose default context has no certificate serves the hosts that SNI names", function (s)
	local tls = support(s)
	local rec = s.recorder()
	local listening, port = tls.listen(rec, tls.server(nil), { sni_hosts = {} })
	tls.host(listening, "a.example", tls.cert("a.example"))
	s.eq(tls.name_at(port, "a.example"), "a.example")
	local peer, err = tls.connect(port)
	s.eq(peer, nil, "a handshake without SNI")
	s.ok(err ~= "timeout", "the end of a handshake without SNI: "..tostring(err))
	s.eq(tls.name_at(port, "a.example"), "a.example", "after a failure")
	s.sleep(0.05)
	for _, list in pairs(rec.disconnects) do s.eq(list.n, 1, "ondisconnect") end
	listening:close()
end, { stock = {
	select = { "not offered: SNI on a listener", match = "a%.example" },
	["select-13"] = false,
} })

t.item(78, "ALPN: a list, a function, no overlap, none; getalpn at both ends; routing as in mod_net_multiplex", function (s)
	local tls = support(s)
	local cert = tls.cert("example.com")
	local rec = s.recorder()
	local function negotiated(port, offered)
		local known = #rec.conns
		local peer = s.ok(tls.connect(port, { mode = "client", protocol = "sslv23", alpn = offered }))
		local conn = s.wait(function () return rec.conns[known + 1] end, 5, "onconnect")
		local far, near = peer.sock:getalpn(), conn:socket():getalpn()
		s.eq(near, far, "getalpn of both ends")
		peer:close()
		disconnected(s, rec, conn)
		return far
	end
	local listening, port = tls.listen(rec, tls.server(cert, { alpn = { "xmpp-server", "xmpp-client" } }))
	s.eq(negotiated(port, { "xmpp-client", "xmpp-server" }), "xmpp-server", "the server's preference")
	s.eq(negotiated(port, "xmpp-client"), "xmpp-client", "the only common one")
	s.eq(negotiated(port, "h2"), nil, "no overlap")
	s.eq(negotiated(port), nil, "none offered")
	listening:close()

	-- The list is a live one, as in mod_net_multiplex
	local protocols, offered = { "xmpp-client" }, nil
	listening, port = tls.listen(rec, tls.server(cert, { alpn = function (list)
		offered = list
		return protocols
	end }))
	s.eq(negotiated(port, { "http/1.1", "xmpp-client" }), "xmpp-client", "the function's choice")
	s.eq(table.concat(offered, " "), "http/1.1 xmpp-client", "what the function is told")
	protocols = { "http/1.1", "xmpp-client" }
	s.eq(negotiated(port, { "xmpp-client", "http/1.1" }), "http/1.1", "the function's new choice")
	protocols = nil
	s.eq(negotiated(port, { "xmpp-client", "http/1.1" }), nil, "a function that chooses nothing")
	protocols = "xmpp-client"
	s.eq(negotiated(port, { "xmpp-client", "http/1.1" }), "xmpp-client", "a function that returns a string")
	offered = nil
	s.eq(negotiated(port), nil, "none offered to a function")
	s.eq(offered, nil, "calls of the function when nothing is offered")
	listening:close()

	-- A client's list, seen by a LuaSec server
	for _, list in ipairs { "xmpp-server", { "xmpp-server", "other" } } do
		local far = s.peer_server()
		local client_rec = s.recorder()
		local conn = s.server.addclient("127.0.0.1", far.port, client_rec, "*a", tls.client({ alpn = list }))
		local peer = s.ok(tls.handshake(far:accept(), tls.server(cert, { alpn = { "xmpp-server" } })))
		s.wait(function () return client_rec.conns[1] end)
		s.eq(peer.sock:getalpn(), "xmpp-server", "what a client offers")
		s.eq(conn:socket():getalpn(), "xmpp-server", "getalpn of a client")
		conn:close()
		far:close()
	end

	-- Routing
	local target = s.recorder()
	local function route(conn)
		local sock = conn:socket()
		if sock.getalpn and sock:getalpn() == "routed" then
			conn:setlistener(target)
			return target.onconnect(conn)
		end
	end
	listening, port = tls.listen(s.recorder({ onconnect = route }), tls.server(cert, { alpn = { "routed" } }))
	local peer = s.ok(tls.connect(port, { mode = "client", protocol = "sslv23", alpn = "routed" }))
	peer:send("hello")
	s.wait(function () return target.conns[1] and target.data[target.conns[1]] == "hello" end, 5, "routed data")
	peer:close()
	disconnected(s, target, target.conns[1])
	listening:close()
end)
