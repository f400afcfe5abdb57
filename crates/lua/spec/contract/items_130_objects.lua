-- What modules read of a handle and of its socket beyond reading and writing: items 130 to 132 of the contract.

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

-- Found by looking for socket() in Prosody's own modules, the community's and verse; docs/lua-api.md has the list.
t.item(132, "conn:socket() answers what modules in public repositories ask of it, without TLS and with it", function (s)
	local conn, peer, rec, _, port = s.pair()
	local sock = conn:socket()
	-- mod_secure_interfaces, mod_net_proxy
	local address, number = sock:getsockname()
	s.eq(address, "127.0.0.1", "getsockname: address")
	s.eq(tonumber(number), port, "getsockname: port")
	local peer_address, peer_number = sock:getpeername()
	s.eq(peer_address, "127.0.0.1", "getpeername: address")
	s.eq(tonumber(peer_number), tonumber((select(2, peer.sock:getsockname()))), "getpeername: port")
	s.eq(tonumber(sock:getfd()), tonumber(conn.getfd and conn:getfd() or sock:getfd()), "getfd")
	s.eq(sock:setoption("keepalive", true), 1, "setoption")
	s.eq(sock:getoption "keepalive", true, "what setoption has set")
	s.eq(sock:settimeout(0), 1, "settimeout")
	s.eq(sock:dirty(), false, "dirty")
	if s.is_trochee then
		-- verse
		s.eq(sock:close(), 1, "close")
		s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect after close()")
		s.ok(peer:closed(5), "the peer sees the end")
		for _, name in ipairs { "getsockname", "getpeername" } do
			local none, err = sock[name](sock)
			s.eq(none, nil, name.." after the end")
			s.eq(err, "closed", name.." after the end")
		end
	end

	local tls = require "tls_support" (s)
	local ca = tls.ca()
	local ours, theirs = tls.cert("server.example", { ca = ca }), tls.cert("client.example", { ca = ca })
	local secured = s.recorder()
	local _, tls_port = tls.listen(secured, tls.server(ours, {
		verify = { "peer", "client_once" }, verifyext = { "lsec_continue", "lsec_ignore_purpose" }, cafile = ca.certificate,
	}))
	local client = { mode = "client", protocol = "tlsv1_2", certificate = theirs.certificate, key = theirs.key, alpn = { "xmpp-client" } }
	local far = s.ok(tls.connect(tls_port, client, "server.example"))
	conn = s.wait(function () return secured.conns[1] end, 5, "onconnect")
	sock = conn:socket()
	-- mod_sslv3_warn and mod_warn_legacy_tls; mod_tls_policy and mod_telnet_tlsinfo, which take all of it; mod_c2s
	s.eq(sock:info "protocol", "TLSv1.2", 'info "protocol"')
	s.eq(sock:info "compression", nil, 'info "compression"')
	local known = {}
	for field in pairs(sock:info()) do known[field] = true end
	for _, field in ipairs { "protocol", "cipher", "bits", "encryption", "algbits", "authentication", "key", "mac", "export" } do
		s.ok(known[field], "info() has "..field)
	end
	s.ok(not (sock.compression and sock:compression()), "compression")
	-- mod_saslauth, mod_admin_shell
	s.eq(sock:getsniname(), "server.example", "getsniname")
	s.eq(sock:getalpn(), nil, "getalpn where we offer none")
	s.eq(#sock:exportkeyingmaterial("EXPORTER-Channel-Binding", 32, ""), 32, "exportkeyingmaterial")
	-- mod_auth_ccert, mod_client_certs, mod_dwd, mod_s2s_auth_samecert
	local cert = s.ok(sock:getpeercertificate(), "getpeercertificate")
	s.eq(cert:pem(), require "ssl".loadcertificate(theirs.pem):pem(), "the certificate of the peer")
	s.eq(cert:validat(os.time()), true, "validat")
	s.eq(type(cert:digest "sha256"), "string", "digest")
	s.ok(require "util.x509".verify_identity("client.example", "xmpp-server", cert), "verify_identity")
	-- mod_s2s_auth_dane
	local chain = sock:getpeerchain()
	s.eq(chain[1]:pem(), cert:pem(), "the first of getpeerchain")
	s.ok(cert:pubkey(), "pubkey")
	s.eq(require "ssl".loadcertificate(ca.pem):issued(cert, table.unpack(chain)), true, "issued")
	-- mod_auth_ccert; mod_watchuntrusted, which takes the second value without a look at the first
	local valid, errors = sock:getpeerverification()
	s.eq(valid, true, "getpeerverification")
	s.eq(next(errors or {}), nil, "the errors of a valid chain")
	if s.is_trochee then
		s.eq(sock:getfinished(), nil, "getfinished")
		s.eq(sock:getpeerfinished(), nil, "getpeerfinished")
		s.eq(sock:dohandshake(), true, "dohandshake")
		s.eq(sock:want(), "nothing", "want")
		s.eq(sock:getlocalcertificate():pem(), require "ssl".loadcertificate(ours.pem):pem(), "getlocalcertificate")
	end
	far:close()
end)
