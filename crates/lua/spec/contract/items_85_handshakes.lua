-- Items 85 to 91: settings of contexts, handshakes that fail, and life after the handshake.

local t = require "harness"
local support = require "tls_support"

local function disconnected(s, rec, conn)
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.sleep(0.05)
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
	return rec.disconnects[conn][1]
end

t.item(85, "protocol, ciphers, ciphersuites, curveslist, options, dhparam, password and every kind of key", function (s)
	local tls = support(s)
	local cert = tls.cert("example.com")
	-- What a client with this configuration gets of such a server: peer.sock:info() | nil, err
	local function negotiate(server, client)
		local listening, port = tls.listen(s.recorder(), server)
		local peer, err = tls.connect(port, tls.merged({ mode = "client", protocol = "sslv23" }, client or {}))
		listening:close()
		if not peer then return nil, err end
		local info = peer.sock:info()
		peer:close()
		return info
	end

	s.eq(negotiate(tls.server(cert, { protocol = "tlsv1_2" })).protocol, "TLSv1.2", "protocol = tlsv1_2")
	s.eq(negotiate(tls.server(cert, { protocol = "tlsv1_3" })).protocol, "TLSv1.3", "protocol = tlsv1_3")
	s.eq(negotiate(tls.server(cert, { protocol = "tlsv1_3" }), { protocol = "tlsv1_2" }), nil, "TLS 1.2 with tlsv1_3")
	s.eq(negotiate(tls.server(cert, { options = { "no_sslv3", "no_tlsv1_3" } })).protocol, "TLSv1.2", "options = no_tlsv1_3")
	-- As certmanager gives it
	local sslconfig = require "util.sslconfig"
	local config = s.version == "0.12" and sslconfig.new() or s.server.tls_builder(tls.dir)
	config:apply({ mode = "server", protocol = "tlsv1_2+", certificate = cert.certificate, key = cert.key, verify = "none",
		options = { cipher_server_preference = true, no_ticket = true, no_compression = true, single_ecdh_use = true },
		ciphers = { "HIGH+kEECDH", "HIGH", "!PSK", "!SRP", "!3DES", "!aNULL" }, curveslist = { "X25519", "P-384", "P-256" } })
	local final = config:final()
	s.eq(negotiate(assert(tls.context(final))).protocol, "TLSv1.3", "a configuration of util.sslconfig")
	s.eq(negotiate(assert(tls.context(final)), { protocol = "tlsv1_2" }).protocol, "TLSv1.2", "the same with TLS 1.2")

	local twelve = { protocol = "tlsv1_2" }
	local chosen = "ECDHE-ECDSA-AES256-GCM-SHA384"
	s.eq(negotiate(tls.server(cert, { ciphers = chosen }), twelve).cipher, chosen, "ciphers")
	s.eq(negotiate(tls.server(cert, { ciphers = chosen }),
		{ protocol = "tlsv1_2", ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256" }), nil, "no cipher in common")
	s.eq(negotiate(tls.server(cert, { options = { "cipher_server_preference" }, ciphers =
		"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384" }), { protocol = "tlsv1_2", ciphers =
		"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305" }).cipher, "ECDHE-ECDSA-CHACHA20-POLY1305",
		"cipher_server_preference")
	s.eq(negotiate(tls.server(cert, { ciphersuites = "TLS_CHACHA20_POLY1305_SHA256" })).cipher,
		"TLS_CHACHA20_POLY1305_SHA256", "ciphersuites")
	s.eq(negotiate(tls.server(cert, { curveslist = "P-384" }), { curveslist = "X25519" }), nil, "no curve in common")
	s.ok(negotiate(tls.server(cert, { curveslist = "P-384:X25519" }), { curveslist = "X25519" }), "a curve in common")
	s.ok(negotiate(tls.server(cert, { dhparam = function () return nil end })), "dhparam")

	-- Keys
	for name, made in pairs { rsa = tls.cert("a.example", { key = "rsa" }), ed25519 = tls.cert("b.example", { key = "ed25519" }) } do
		s.ok(negotiate(tls.server(made)), "a key of kind "..name)
	end
	local rsa = tls.cert("c.example", { key = "rsa" })
	local function converted(command, key)
		local path = ("%s/converted%d.key"):format(tls.dir, #command)
		local output, ok = tls.openssl(("%s -in '%s' -out '%s'"):format(command, key, path))
		s.ok(ok, output)
		return path
	end
	s.ok(negotiate(tls.server(rsa, { key = converted("rsa -traditional", rsa.key) })), "a PKCS#1 key")
	s.ok(negotiate(tls.server(cert, { key = converted("ec", cert.key) })), "a SEC1 key")
	for name, encrypted in pairs {
		["PKCS#8"] = converted("pkcs8 -topk8 -passout pass:secret", cert.key),
		traditional = converted("rsa -traditional -aes128 -passout pass:secret", rsa.key),
	} do
		local owner = name == "PKCS#8" and cert or rsa
		local asked = 0
		for kind, password in pairs { string = "secret", ["function"] = function () asked = asked + 1 return "secret" end } do
			local ctx, err = tls.context(tls.merged({ mode = "server", protocol = "sslv23",
				certificate = owner.certificate, key = encrypted, password = password }))
			s.ok(ctx, ("an encrypted %s key with a %s for a password: %s"):format(name, kind, tostring(err)))
			s.ok(negotiate(ctx), "a handshake with an encrypted key")
		end
		s.eq(asked, 1, "calls of the password function")
		local ctx, err = tls.context({ mode = "server", protocol = "sslv23", certificate = owner.certificate,
			key = encrypted, password = "wrong" })
		s.eq(ctx, nil, "a wrong password")
		s.ok(tostring(err):match("^error loading private key %("), "the error for a wrong password: "..tostring(err))
	end
	-- A password function that complains, as certmanager's, is left alone when the key needs none
	s.ok(negotiate(tls.server(cert, { password = function () s.fail("asked for a password that no key needs") end })))
end)

t.item(86, "error texts for missing, unreadable and mismatched keys and certificates are those that certmanager parses",
function (s)
	local tls = support(s)
	local cert, other = tls.cert("example.com"), tls.cert("example.com")
	tls.write_file(tls.dir.."/empty", "")
	local function failure(change)
		local ctx, err = tls.context(tls.merged({ mode = "server", protocol = "sslv23",
			certificate = cert.certificate, key = cert.key }, change))
		s.eq(ctx, nil, "a context from bad files")
		return tostring(err)
	end
	for what, field in pairs { ["private key"] = "key", certificate = "certificate" } do
		for _, name in ipairs { "/absent", "/empty" } do
			local err = failure({ [field] = tls.dir..name })
			s.eq(err:match("^error loading (.-) %("), what, err)
			s.ok(err:match("%((.+)%)$"), "the reason in "..err)
		end
	end
	s.ok(failure({ key = other.key }):match("private key does not match public key") or
		failure({ key = other.key }):match("key values mismatch"), "mismatch: "..failure({ key = other.key }))
	-- A raw table: what is wrong is known before a port opens
	if s.is_trochee then
		local function refused(change)
			local handle, err = s.server.listen("127.0.0.1", s.free_port(), s.recorder(), { tls_direct = true, tls_ctx =
				tls.merged({ mode = "server", protocol = "sslv23", certificate = cert.certificate, key = cert.key }, change) })
			s.eq(handle, nil, "listen with bad files")
			return err
		end
		s.eq(refused({ key = tls.dir.."/absent" }), "error loading private key (No such file or directory)")
		s.eq(refused({ certificate = tls.dir.."/absent" }), "error loading certificate (No such file or directory)")
		s.eq(refused({ key = tls.dir.."/empty" }), "error loading private key (no start line)")
		s.eq(refused({ certificate = tls.dir.."/empty" }), "error loading certificate (no start line)")
		s.eq(refused({ key = other.key }), "private key does not match public key")
	end
end)

t.item(87, "a handshake that stalls, garbage, and plaintext on a TLS port: one ondisconnect, no onconnect", function (s)
	local tls = support(s)
	s.settings({ ssl_handshake_timeout = 0.4 })
	local rec = s.recorder()
	local ctx = tls.server(tls.cert("example.com"))
	local listening, port = tls.listen(rec, ctx)
	for _, case in ipairs {
		{ "plain XMPP", "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='example.com'>" },
		{ "plain HTTP", "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n" },
		{ "garbage", ("\0\255garbage"):rep(20) },
		{ "a record that is too long", "\22\3\1\255\255"..("x"):rep(600) },
	} do
		local what, bytes = table.unpack(case)
		local before = rec.count("ondisconnect")
		local peer = s.peer(port)
		peer:send(bytes)
		s.ok(peer:closed(), what..": the end of the connection")
		s.wait(function () return rec.count("ondisconnect") > before end, 5, "ondisconnect after "..what)
		s.sleep(0.02)
		s.eq(rec.count("ondisconnect"), before + 1, what..": calls of ondisconnect")
		peer:close()
	end
	-- Silence, and a ClientHello that never ends
	for _, bytes in ipairs { "", "\22\3\1\2\0\1\0\1\252\3\3" } do
		local before = rec.count("ondisconnect")
		local peer = s.peer(port)
		peer:send(bytes)
		s.ok(peer:closed(3), "the end of a connection that stalls")
		s.wait(function () return rec.count("ondisconnect") > before end, 5, "ondisconnect after a stall")
		s.sleep(0.02)
		s.eq(rec.count("ondisconnect"), before + 1, "calls of ondisconnect after a stall")
		peer:close()
	end
	-- A peer that leaves
	local before = rec.count("ondisconnect")
	s.peer(port):close()
	s.wait(function () return rec.count("ondisconnect") > before end, 5, "ondisconnect of a peer that left")
	s.eq(rec.count("onconnect"), 0, "calls of onconnect")
	s.eq(rec.count("onincoming"), 0, "calls of onincoming")
	-- The listener is well
	s.ok(tls.name_at(port), "a handshake after all that")
	listening:close()

	-- The connecting end, to a server that has no TLS
	local far = s.peer_server()
	local client_rec = s.recorder()
	local conn = s.server.addclient("127.0.0.1", far.port, client_rec, "*a", tls.client())
	local peer = far:accept()
	peer:send("220 smtp.example ready\r\n")
	disconnected(s, client_rec, conn)
	s.ok(client_rec.disconnects[conn][1], "a reason for the client")
	s.eq(client_rec.count("onconnect"), 0, "onconnect of a client without TLS")
	far:close()
end, { stock = {
	event = { "never calls ondisconnect when a direct TLS handshake fails", match = "ondisconnect after plain XMPP" },
	select = { "has no handshake timeout", match = "connection that stalls" },
} })

t.item(88, "setoption works with TLS as without", function (s)
	local tls = support(s)
	local rec = s.recorder()
	local listening, port = tls.listen(rec, tls.server(tls.cert("example.com")))
	local peer = s.ok(tls.connect(port))
	local conn = s.wait(function () return rec.conns[1] end)
	s.ok(conn:setoption("keepalive", true), "setoption with TLS")
	peer:close()
	disconnected(s, rec, conn)
	listening:close()
end, { stock = {
	epoll = { "LuaSec has no setoption: keepalives cannot be set with direct TLS", match = "setoption" },
	event = { "not offered: setoption", match = "setoption" },
	select = { "not offered: setoption", match = "setoption" },
} })

t.item(89, "close sends what is queued and close_notify; a peer that leaves without it is reported as closed", function (s)
	local tls = support(s)
	local rec = s.recorder()
	local ctx = tls.server(tls.cert("example.com"))
	local listening, port = tls.listen(rec, ctx, { read_size = "*a" })
	for _, protocol in ipairs { "tlsv1_3", "tlsv1_2" } do
		local cfg = { mode = "client", protocol = protocol }
		local known = #rec.conns
		local peer = s.ok(tls.connect(port, cfg))
		local conn = s.wait(function () return rec.conns[known + 1] end)
		local large = ("x"):rep(300000)
		conn:write(large)
		conn:close()
		s.eq(peer:receive_until(#large), large, "what was queued at close()")
		s.ok(peer:closed(), "the end after close()")
		s.eq(peer.eof, "closed", "close_notify as LuaSec reports it")
		peer:close()
		disconnected(s, rec, conn)

		peer = s.ok(tls.connect(port, cfg))
		conn = s.wait(function () return rec.conns[known + 2] end)
		peer:send("last words")
		peer:close() -- LuaSec sends close_notify
		local reason = disconnected(s, rec, conn)
		s.ok(reason == nil or reason == "closed", "the reason after close_notify: "..tostring(reason))
		s.eq(rec.data[conn], "last words")

		-- Without close_notify, as a process that is killed leaves
		local command = tls.command(("s_client -quiet -%s -connect 127.0.0.1:%d"):format((protocol:gsub("v", "")), port), "cut")
		conn = s.wait(function () return rec.conns[known + 3] end)
		s.wait(function () return rec.data[conn] == "cut" end)
		command:kill()
		reason = disconnected(s, rec, conn)
		s.ok(reason == nil or reason == "closed", "the reason of a truncated end: "..tostring(reason))
	end

	-- What TLS itself has sent is not taken for what was written: who takes over hears when that is gone.
	local peer = s.ok(tls.connect(port))
	local conn = s.wait(function () return rec.conns[7] end)
	rec.ondrain, rec.onpredrain = nil, nil
	s.sleep(0.05)
	local drained = false
	conn:write("a word")
	conn:setlistener({ ondrain = function () drained = true end })
	s.wait(function () return drained end, 5, "ondrain about what was written under other listeners")
	peer:close()
	listening:close()
end, { stock = {
	epoll = { "reports the end of a peer that leaves without close_notify as \"unexpected eof while reading\"", match = "unexpected eof" },
	-- Which of them comes first is a matter of time.
	event = { "reports the end of a peer that leaves without close_notify as \"unexpected eof while reading\"; now and then loses what came with close_notify" },
	select = { "reports the end of a peer that leaves without close_notify as \"unexpected eof while reading\"; now and then loses what came with close_notify" },
} })

t.item(90, "an https request by net.http checks the certificate through conn:socket()", function (s)
	local tls = support(s)
	local http = require "net.http"
	local ca = tls.ca()
	-- The resolver is left out: an address as the name
	local good = tls.cert("127.0.0.1", { ca = ca })
	local sslctx = tls.client({ verify = "peer", verifyext = { "lsec_continue" }, cafile = ca.certificate })
	local function request(cert)
		local far = s.peer_server()
		local content, code
		http.request(("https://127.0.0.1:%d/path"):format(far.port), { sslctx = sslctx }, function (body, status)
			content, code = body, status
		end)
		local peer = tls.handshake(far:accept(), tls.server(cert))
		if peer then
			peer:receive_until("\r\n\r\n", 1)
			peer:send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
		end
		s.wait(function () return code end, 5, "the answer")
		if peer then peer:close() end
		far:close()
		return content, code
	end
	local content, code = request(good)
	s.eq(code, 200, content)
	s.eq(content, "hello")
	s.eq(request(tls.cert("127.0.0.1")), "certificate-chain-invalid", "a self-signed certificate")
	s.eq(request(tls.cert("elsewhere.example", { ca = ca })), "certificate-verify-failed", "another's certificate")
end)

t.item(91, "what one TLS record holds beyond read_size is delivered without further input", function (s)
	local tls = support(s)
	local rec = s.recorder()
	local ctx = tls.server(tls.cert("example.com"))
	local listening, port = tls.listen(rec, ctx, { read_size = 100 })
	local peer = s.ok(tls.connect(port))
	local conn = s.wait(function () return rec.conns[1] end)
	local record = ("0123456789"):rep(1000)
	peer:send(record)
	s.wait(function () return #rec.data[conn] == #record end, 5, "the rest of a record")
	s.eq(rec.data[conn], record)
	for _, event in ipairs(rec.events) do
		if event[1] == "onincoming" then
			s.ok(#event[3] <= 100, "a chunk larger than read_size")
		end
	end
	-- The same with a pause in between
	local size = 0
	rec.overrides.onincoming = function (c, data)
		size = size + #data
		if size == 500 then c:pause() end
	end
	peer:send(record)
	s.wait(function () return size >= 500 end)
	s.sleep(0.1)
	s.eq(size, 500, "bytes delivered before pause() took effect")
	conn:resume()
	s.wait(function () return size == #record end, 5, "the rest of a record after resume()")
	-- The end of the stream behind it
	conn:pause()
	peer:send("last")
	peer:close()
	s.sleep(0.1)
	conn:resume()
	disconnected(s, rec, conn)
	s.eq(rec.data[conn]:sub(-4), "last", "the last bytes")
	listening:close()
end, { stock = {
	event = { "loses the last bytes when they come together with the end of the stream", match = "the last bytes" },
	select = { "loses the last bytes when they come together with the end of the stream", match = "the last bytes" },
} })
