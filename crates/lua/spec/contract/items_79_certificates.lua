-- Items 79 to 84: what is known about the peer: its certificate, whether that is good, the cipher, channel binding.

local t = require "harness"
local socket = require "socket"
local support = require "tls_support"

local function disconnected(s, rec, conn)
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.sleep(0.05)
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
	return rec.disconnects[conn][1]
end

-- An incoming connection by direct TLS: conn, peer, rec, the server handle and its port
local function accepted(s, tls, server, client, sni)
	local rec = s.recorder()
	local listening, port = tls.listen(rec, server)
	local peer, err = tls.connect(port, client, sni)
	s.ok(peer, "handshake: "..tostring(err))
	local conn = s.wait(function () return rec.conns[1] end, 5, "onconnect")
	return conn, peer, rec, listening, port
end

-- An outgoing one to a LuaSec server: conn, peer or nil, rec
local function connected(s, tls, client, server, extra)
	local far = s.peer_server()
	local rec = s.recorder()
	local conn = s.ok(s.server.addclient("127.0.0.1", far.port, rec, "*a", client, nil, extra))
	local peer = tls.handshake(far:accept(), server)
	far:close()
	s.wait(function () return rec.conns[1] or rec.disconnects[conn] end, 5, "onconnect or ondisconnect")
	return conn, peer, rec
end

-- All that getpeerverification says, by depth, in one line
local function verification(conn)
	local valid, errors = conn:socket():getpeerverification()
	if valid then
		return "valid"
	elseif type(errors) ~= "table" then
		return tostring(errors)
	end
	local texts = {}
	for depth, list in pairs(errors) do
		for _, text in ipairs(list) do
			table.insert(texts, ("%d: %s"):format(depth - 1, text))
		end
	end
	table.sort(texts)
	return table.concat(texts, ", ")
end

local function check(s, conn, expected, what)
	local text = verification(conn)
	if not text:find(expected) then
		s.fail(("%s: getpeerverification says %q, expected %q"):format(what, text, expected))
	end
end

local collect = { "lsec_continue", "lsec_ignore_purpose" }

t.item(79, "verification: none, peer, client_once; errors are collected with lsec_continue, by depth, in OpenSSL's words",
function (s)
	local tls = support(s)
	local ca, other_ca = tls.ca("Test CA"), tls.ca("Another CA")
	local good = tls.cert("good.example", { ca = ca })
	local cases = {
		{ "a good certificate", good, "^valid$" },
		{ "a self-signed certificate", tls.cert("self.example"), "0: self.signed certificate" },
		{ "an expired certificate", tls.cert("old.example", { ca = ca, dates = { "20200101000000Z", "20210101000000Z" } }),
			"0: certificate has expired" },
		{ "a certificate of the future", tls.cert("new.example", { ca = ca, dates = { "20480101000000Z", "20490101000000Z" } }),
			"0: certificate is not yet valid" },
		{ "an unknown issuer", tls.cert("other.example", { ca = other_ca }), "0: unable to get local issuer certificate" },
	}
	local server = tls.server(good, { verify = { "peer", "client_once" }, verifyext = collect, cafile = ca.certificate })
	local client = tls.client({ verify = "peer", verifyext = collect, cafile = ca.certificate })
	for _, case in ipairs(cases) do
		local what, cert, expected = table.unpack(case)
		local conn, peer, rec, listening = accepted(s, tls, server, {
			mode = "client", protocol = "sslv23", certificate = cert.certificate, key = cert.key,
		})
		check(s, conn, expected, what.." of a client")
		s.ok(conn:socket():getpeercertificate(), what.." of a client")
		peer:close()
		listening:close()
		disconnected(s, rec, conn)

		conn = connected(s, tls, client, tls.server(cert))
		check(s, conn, expected, what.." of a server")
		conn:close()
	end

	-- Also of a client that has gone by the time somebody asks
	local judged, verdict
	local _, port = tls.listen({
		onconnect = function (conn)
			judged:close()
			socket.sleep(0.2)
			verdict = { conn:socket():getpeerverification() }
		end;
	}, server)
	local bad = cases[2][2]
	judged = s.ok(tls.connect(port, { mode = "client", protocol = "tlsv1_3", certificate = bad.certificate, key = bad.key }))
	s.wait(function () return verdict end, 5, "onconnect")
	s.eq(verdict[1], false, "a self-signed certificate of a client that has gone")

	-- Nothing to verify
	local conn, peer, _, listening = accepted(s, tls, server)
	check(s, conn, "^valid$", "no certificate")
	s.eq(conn:socket():getpeercertificate(), nil, "the certificate of a client that has none")
	peer:close()
	listening:close()
	conn, peer, _, listening = accepted(s, tls, tls.server(good), {
		mode = "client", protocol = "sslv23", certificate = good.certificate, key = good.key,
	})
	s.eq(conn:socket():getpeercertificate(), nil, "the certificate of a client that was not asked")
	peer:close()
	listening:close()

	-- verify = "none" connects to anything, and still knows what it has seen: mod_s2s of 13.0 relies on it
	for _, verifyext in ipairs { {}, collect } do
		local unverified = tls.client({ verify = "none", verifyext = verifyext, cafile = ca.certificate })
		conn = connected(s, tls, unverified, tls.server(tls.cert("self.example")))
		s.ok(conn:socket():getpeercertificate(), "a server's certificate with verify = none")
		-- LuaSec gives a text where it collects no list
		local valid, errors = conn:socket():getpeerverification()
		errors = type(errors) == "table" and errors[1][1] or errors
		s.eq(valid, false, "a self-signed certificate with verify = none")
		s.ok(errors:find("self.signed certificate"), "why it is not valid: "..errors)
		conn:close()
		conn = connected(s, tls, unverified, tls.server(good))
		s.eq(conn:socket():getpeerverification(), true, "a good certificate with verify = none")
		conn:close()
	end

	-- For what a certificate may be used. What lsec_ignore_purpose ignores is that the peer is a client
	for usage, of_server in pairs { serverAuth = true, clientAuth = false } do
		local purposeful = tls.cert("purpose.example", { ca = ca, usage = usage })
		for _, ignore in ipairs { true, false } do
			local rec
			conn, peer, rec, listening = accepted(s, tls, tls.server(good, {
				verify = { "peer", "client_once" }, cafile = ca.certificate,
				verifyext = ignore and collect or { "lsec_continue" },
			}), { mode = "client", protocol = "sslv23", certificate = purposeful.certificate, key = purposeful.key })
			check(s, conn, ignore == of_server and "^valid$" or "0: unsuitable certificate purpose", usage.." of a client")
			peer:close()
			listening:close()
			disconnected(s, rec, conn)
		end
	end

	-- Whoever pins a peer trusts that peer, and not whom its key has signed
	local pinned = tls.cert("peer.example")
	local signed = tls.cert("bank.example", { ca = pinned })
	for _, verifyext in ipairs { collect, {} } do
		for cert, expected in pairs { [pinned] = "^valid$", [signed] = "1: invalid CA certificate" } do
			local rec
			local may_fail = cert == signed and not verifyext[1]
			conn, peer, rec = connected(s, tls,
				tls.client({ verify = "peer", verifyext = verifyext, cafile = pinned.certificate }), tls.server(cert))
			if not may_fail then
				check(s, conn, expected, cert.name.." of a server")
				conn:close()
			else
				s.eq(rec.count("onconnect"), 0, "onconnect to what a pinned certificate has signed")
				if peer then peer:close() end
				s.eq(disconnected(s, rec, conn), "certificate verify failed", "the reason")
			end
		end
		local rec
		conn, peer, rec, listening = accepted(s, tls, tls.server(good, {
			verify = { "peer", "client_once" }, cafile = pinned.certificate, verifyext = collect,
		}), { mode = "client", protocol = "sslv23", certificate = signed.certificate, key = signed.key })
		check(s, conn, "1: invalid CA certificate", "what a pinned certificate has signed, of a client")
		peer:close()
		listening:close()
		disconnected(s, rec, conn)
	end

	-- Without lsec_continue the handshake ends
	local rec
	conn, peer, rec = connected(s, tls, tls.client({ verify = "peer", cafile = ca.certificate }), tls.server(tls.cert("self.example")))
	s.eq(rec.count("onconnect"), 0, "onconnect after a refused certificate")
	if peer then peer:close() end
	s.eq(disconnected(s, rec, conn), "certificate verify failed", "the reason")
	conn = connected(s, tls, tls.client({ verify = "peer", cafile = ca.certificate }), tls.server(good))
	check(s, conn, "^valid$", "a good certificate without lsec_continue")
	conn:close()
end, { stock = {
	event = { "never calls ondisconnect when the handshake of an outgoing direct TLS connection fails", match = "onconnect or ondisconnect" },
} })

t.item(80, "getpeercertificate, getpeerchain and the certificate objects are LuaSec's, and equal the peer's certificate",
function (s)
	local tls = support(s)
	local root = tls.ca("Root CA")
	local intermediate = tls.cert("Intermediate CA", { ca = root, is_ca = true })
	local leaf = tls.cert("example.com", { ca = intermediate, key = "rsa", names = "DNS:example.com, DNS:*.example.com, "
		.."otherName:1.3.6.1.5.5.7.8.5;UTF8:example.com, otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-server.example.com" })
	local chain_file = tls.dir.."/chain.pem"
	tls.write_file(chain_file, leaf.pem..intermediate.pem)
	local cfg = { certificate = chain_file, key = leaf.key }
	local expected = require "ssl".loadcertificate(leaf.pem)

	local function compare(conn)
		local sock = conn:socket()
		local cert = s.ok(sock:getpeercertificate(), "getpeercertificate")
		s.eq(cert:pem(), expected:pem(), "pem")
		for _, name in ipairs { "sha1", "sha256" } do
			s.eq(cert:digest(name), expected:digest(name), "digest")
		end
		for _, name in ipairs { "serial", "notbefore", "notafter", "getsignaturename" } do
			if expected[name] then
				s.eq(cert[name](cert), expected[name](expected), name)
			end
		end
		local pem, key_type, bits = cert:pubkey()
		local expected_pem, expected_type, expected_bits = expected:pubkey()
		s.eq(pem, expected_pem, "pubkey")
		s.eq(key_type, expected_type)
		s.eq(bits, expected_bits)
		s.eq(cert:subject()[1].value, "example.com", "subject")
		s.eq(cert:issuer()[1].value, "Intermediate CA", "issuer")
		s.ok(cert:setencode("utf8"), "setencode")
		s.ok(cert:validat(os.time()), "validat")
		local names = cert:extensions()["2.5.29.17"]
		s.eq(names.dNSName[2], "*.example.com", "a dNSName")
		s.eq(names["1.3.6.1.5.5.7.8.5"][1], "example.com", "an xmppAddr")
		s.eq(names["1.3.6.1.5.5.7.8.7"][1], "_xmpp-server.example.com", "an SRVName")
		local verify_identity = require "util.x509".verify_identity
		s.ok(verify_identity("a.example.com", "_xmpp-server", cert), "verify_identity")
		s.ok(not verify_identity("example.net", "_xmpp-server", cert), "verify_identity of another name")

		local chain = sock:getpeerchain()
		s.eq(#chain, 2, "length of the chain")
		s.eq(chain[1]:pem(), expected:pem(), "the first of the chain")
		s.eq(chain[2]:pem(), require "ssl".loadcertificate(intermediate.pem):pem(), "the second of the chain")
		s.eq(sock:getpeerverification(), true, "getpeerverification")
	end

	local conn = connected(s, tls, tls.client({ verify = "peer", cafile = root.certificate, verifyext = collect }),
		tls.server(nil, cfg))
	compare(conn)
	conn:close()
	local peer, rec, listening
	conn, peer, rec, listening = accepted(s, tls, tls.server(leaf, {
		verify = { "peer", "client_once" }, verifyext = collect, cafile = root.certificate,
	}), tls.merged({ mode = "client", protocol = "sslv23" }, cfg))
	compare(conn)
	local sock = conn:socket()
	peer:close()
	disconnected(s, rec, conn)
	-- mod_saslauth keeps the object
	s.ok(pcall(sock.getpeercertificate, sock), "getpeercertificate after the end")
	s.ok(pcall(sock.info, sock), "info after the end")
	listening:close()
end)

t.item(81, "info() says what OpenSSL says at the other end: protocol, cipher and the rest, as a table and by field", function (s)
	local tls = support(s)
	local certs = { ec = tls.cert("ec.example"), rsa = tls.cert("rsa.example", { key = "rsa" }) }
	local cases = {
		{ "ec", "tlsv1_2", "ECDHE-ECDSA-AES128-GCM-SHA256" }, { "ec", "tlsv1_2", "ECDHE-ECDSA-AES256-GCM-SHA384" },
		{ "ec", "tlsv1_2", "ECDHE-ECDSA-CHACHA20-POLY1305" }, { "rsa", "tlsv1_2", "ECDHE-RSA-AES128-GCM-SHA256" },
		{ "rsa", "tlsv1_2", "ECDHE-RSA-AES256-GCM-SHA384" }, { "rsa", "tlsv1_2", "ECDHE-RSA-CHACHA20-POLY1305" },
		{ "ec", "tlsv1_3", "TLS_AES_128_GCM_SHA256" }, { "ec", "tlsv1_3", "TLS_AES_256_GCM_SHA384" },
		{ "rsa", "tlsv1_3", "TLS_CHACHA20_POLY1305_SHA256" },
	}
	for _, case in ipairs(cases) do
		local key, protocol, cipher = table.unpack(case)
		local conn, peer, rec, listening = accepted(s, tls, tls.server(certs[key]), {
			mode = "client", protocol = protocol,
			ciphers = protocol == "tlsv1_2" and cipher or nil, ciphersuites = protocol == "tlsv1_3" and cipher or nil,
		})
		local near, far = conn:socket():info(), peer.sock:info()
		s.eq(near.cipher, cipher, "cipher")
		for field, value in pairs(far) do
			s.eq(near[field], value, ("%s of %s"):format(field, cipher))
			s.eq(conn:socket():info(field), value, ("info(%q)"):format(field))
		end
		for field in pairs(near) do
			s.ok(far[field] ~= nil or s.is_trochee, "a field that LuaSec has not: "..field)
		end
		s.eq(near.compression, nil, "compression")
		peer:close()
		listening:close()
		disconnected(s, rec, conn)
	end
end)

t.item(82, "the TLS exporter gives what the peer's gives; tls-unique is the peer's or absent", function (s)
	local tls = support(s)
	local cert = tls.cert("example.com")
	for _, protocol in ipairs { "tlsv1_3", "tlsv1_2" } do
		local conn, peer, rec, listening = accepted(s, tls, tls.server(cert), { mode = "client", protocol = protocol })
		local sock = conn:socket()
		local material = sock:exportkeyingmaterial("EXPORTER-Channel-Binding", 32, "")
		s.eq(type(material) == "string" and #material, 32, "length of exported material")
		s.eq(material, peer.sock:exportkeyingmaterial("EXPORTER-Channel-Binding", 32, ""), "exported material")
		s.eq(sock:exportkeyingmaterial("EXPORTER-other", 16, "context"),
			peer.sock:exportkeyingmaterial("EXPORTER-other", 16, "context"), "exported material with a context")
		if conn.ssl_exportkeyingmaterial then
			s.eq(conn:ssl_exportkeyingmaterial("EXPORTER-Channel-Binding", 32, ""), material, "the handle's method")
		end
		-- As mod_saslauth asks
		if sock:info().protocol == "TLSv1.2" then
			local unique = sock.getpeerfinished and sock:getpeerfinished()
			s.ok(not unique or unique == peer.sock:getfinished(), "tls-unique")
			s.ok(unique or s.is_trochee, "tls-unique on a stock backend")
		end
		peer:close()
		listening:close()
		disconnected(s, rec, conn)
	end
end)

t.item(83, "what tls-server-end-point needs: server():ip(), serverport() and getsniname()", function (s)
	local tls = support(s)
	local conn, peer, rec, listening, port = accepted(s, tls, tls.server(tls.cert("example.com")), nil, "example.com")
	s.eq(conn:server(), listening, "server()")
	s.eq(conn:server():ip(), "127.0.0.1", "ip() of the server handle")
	s.eq(tonumber(conn:serverport()), port, "serverport()")
	s.eq(conn:socket():getsniname(), "example.com", "getsniname")
	-- Where it is offered, mod_saslauth of 13.0 asks no file
	if conn.getlocalcertificate then
		local cert = s.ok(conn:getlocalcertificate(), "getlocalcertificate")
		s.eq(cert:pem(), peer.sock:getpeercertificate():pem(), "our certificate is the one that the client sees")
		s.eq(type(cert:getsignaturename()), "string", "getsignaturename")
	end
	s.ok(conn.getlocalcertificate or not s.is_trochee, "getlocalcertificate exists")
	peer:close()
	disconnected(s, rec, conn)
	listening:close()
	conn, peer, rec, listening = accepted(s, tls, tls.server(tls.cert("example.com")))
	s.eq(conn:socket():getsniname(), nil, "getsniname of a client that says none")
	peer:close()
	listening:close()
	disconnected(s, rec, conn)

	-- The name that a client asks for
	local far_cert = tls.cert("far.example")
	local client, client_peer = connected(s, tls, tls.client(), tls.server(far_cert), { servername = "far.example" })
	s.eq(client_peer.sock:getsniname(), "far.example", "extra.servername as SNI")
	s.eq(client:socket():getsniname(), "far.example", "getsniname of a client")
	client:close()
end)

t.item(84, "DANE: a certificate that a TLSA record vouches for is good, and another is not", function (s)
	local tls = support(s)
	local sha256 = require "util.hashes".sha256
	local ca = tls.ca()
	local cert, other = tls.cert("example.com"), tls.cert("example.com")
	local issued = tls.cert("example.com", { ca = ca })
	tls.write_file(tls.dir.."/chain.pem", issued.pem..ca.pem)
	local ssl, mime = require "ssl", require "mime"
	local function der(pem)
		return (mime.unb64((pem:gsub("%-%-%-%-%-[^\n]*%-%-%-%-%-", ""):gsub("%s", ""))))
	end
	local function verified(server_cfg, tlsa)
		local client = tls.client({ verify = "peer", verifyext = collect, dane = { "no_ee_namechecks" } })
		local conn = connected(s, tls, client, tls.server(nil, server_cfg), { servername = "example.com", tlsa = tlsa })
		local text = verification(conn)
		conn:close()
		return text
	end
	local spki = der(ssl.loadcertificate(cert.pem):pubkey())
	s.eq(verified(cert, { { use = 3, select = 1, match = 1, data = sha256(spki) } }), "valid", "3 1 1")
	s.eq(verified(cert, { { use = 3, select = 0, match = 1, data = sha256(der(cert.pem)) } }), "valid", "3 0 1")
	s.eq(verified(cert, { { use = 3, select = 0, match = 0, data = der(cert.pem) } }), "valid", "3 0 0")
	s.eq(verified(cert, {
		{ use = 3, select = 1, match = 1, data = ("\0"):rep(32) }, { use = 3, select = 1, match = 1, data = sha256(spki) },
	}), "valid", "the second of two records")
	local text = verified(other, { { use = 3, select = 1, match = 1, data = sha256(spki) } })
	s.ok(text:find("no matching DANE TLSA records", 1, true), "another certificate: "..text)
	s.eq(verified({ certificate = tls.dir.."/chain.pem", key = issued.key },
		{ { use = 2, select = 0, match = 1, data = sha256(der(ca.pem)) } }), "valid", "2 0 1")
end, { stock = {
	event = { "not offered: DANE", match = "3 1 1" },
	select = { "not offered: DANE", match = "3 1 1" },
} })
