--[[
What the TLS items share: certificates made on the spot with the openssl command, and peers that are LuaSec objects on
sockets that do not block, in the item's own process.

	local tls = require "tls_support" (s)

	tls.ca(name)              a certificate authority: { certificate = path, key = path, pem = text, name = name }
	tls.cert(name, options)   the same for an end entity; name is also the only dNSName. options:
		ca      who signs it; itself by default
		key     "ec" (P-256, the default), "rsa" or "ed25519"
		dates   { "20200101000000Z", "20210101000000Z" }; valid for a year by default
		usage   extendedKeyUsage
		names   subjectAltName, instead of DNS:name
	tls.context(cfg)          what a backend gets for a context: LuaSec's in 0.12, that of tls_builder in 13.0. -> ctx | nil, err
	tls.server(cert, cfg)     a context for a listener: protocol, certificate and key, then cfg
	tls.client(cfg)           the same for the connecting end
	tls.host(listening, name, cert)   has a listener serve a host by SNI, as portmanager does; no more without cert
	tls.connect(port, cfg, sni)     -> peer that has completed its handshake | nil, err
	tls.handshake(peer, cfg, sni)   the same on a peer that is connected: wraps it
	tls.openssl(arguments, input)   runs the command; -> output, whether it succeeded
	tls.command(arguments, input)   runs it beside the item: :output(), :kill()
	tls.listen(listeners, ctx, config) -> handle, port     direct TLS
]]

local socket = require "socket"
local ssl = require "ssl"

local ca_config = [[
[ca]
default_ca = this
[this]
database = %s/index
new_certs_dir = %s
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
[ca_extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
[extensions]
basicConstraints = CA:FALSE
subjectAltName = %s
%s
]]

local key_types = {
	ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
	rsa = "-newkey rsa:2048",
	ed25519 = "-newkey ed25519",
}

local function read_file(name)
	local file = assert(io.open(name))
	local text = file:read("*a")
	file:close()
	return text
end

local function write_file(name, text)
	local file = assert(io.open(name, "w"))
	file:write(text)
	file:close()
end

local function merged(...)
	local all = {}
	for _, t in ipairs { ... } do
		for k, v in pairs(t) do all[k] = v end
	end
	return all
end

return function (s)
	local tls = { read_file = read_file, write_file = write_file, merged = merged }
	local dir = s.tmpdir()
	tls.dir = dir
	local serial = 0

	local function run(command)
		local ok = os.execute(("cd '%s' && { %s; } >log 2>&1"):format(dir, command))
		if not ok then
			s.fail(("%s: %s"):format(command:match("^%S+ %S+"), read_file(dir.."/log")))
		end
	end

	function tls.cert(name, options)
		options = options or {}
		serial = serial + 1
		local prefix = ("%s/%d"):format(dir, serial)
		local usage = options.usage and "extendedKeyUsage = "..options.usage or ""
		write_file(prefix..".cnf", ca_config:format(dir, dir, options.names or "DNS:"..name, usage))
		write_file(dir.."/index", "")
		local dates = options.dates or { os.date("!%Y%m%d%H%M%SZ", os.time() - 3600), os.date("!%Y%m%d%H%M%SZ", os.time() + 365 * 86400) }
		local signer = options.ca and ("-cert '%s' -keyfile '%s'"):format(options.ca.certificate, options.ca.key)
			or ("-selfsign -keyfile '%s.key'"):format(prefix)
		run(("openssl req -new %s -nodes -keyout '%s.key' -out '%s.csr' -subj '/CN=%s'"):format(
			key_types[options.key or "ec"], prefix, prefix, name))
		run(("openssl ca -batch -notext -config '%s.cnf' -extensions %s -startdate %s -enddate %s %s -in '%s.csr' -out '%s.crt'"):format(
			prefix, options.is_ca and "ca_extensions" or "extensions", dates[1], dates[2], signer, prefix, prefix))
		return { name = name, certificate = prefix..".crt", key = prefix..".key", pem = read_file(prefix..".crt") }
	end

	function tls.ca(name)
		return tls.cert(name or "Test CA", { is_ca = true })
	end

	-- Context -> what it was made from, where LuaSec itself does not take it
	local configuration = {}

	function tls.context(cfg)
		if s.version == "0.12" then
			return ssl.newcontext(cfg)
		end
		local ctx, err = s.server.tls_builder(dir):apply(cfg):build()
		if ctx then configuration[ctx] = cfg end
		return ctx, err
	end

	function tls.host(listening, name, cert)
		if s.version == "0.12" then
			listening.hosts[name] = cert and tls.server(cert)
		elseif cert then
			s.ok(listening:sslctx():set_sni_host(name, cert.certificate, cert.key))
		else
			listening:sslctx():remove_sni_host(name)
		end
	end

	function tls.server(cert, cfg)
		return assert(tls.context(merged({
			mode = "server", protocol = "sslv23", options = { "no_sslv2", "no_sslv3", "no_compression" },
			certificate = cert and cert.certificate, key = cert and cert.key,
		}, cfg or {})))
	end

	function tls.client(cfg)
		return assert(tls.context(merged({ mode = "client", protocol = "sslv23" }, cfg or {})))
	end

	-- A peer of the harness on a LuaSec object, which says "wantread" for "timeout"
	local function tls_peer(sock)
		local peer = s.wrap_peer(sock)
		function peer:fetch()
			while not self.eof do
				local data, err, partial = self.sock:receive(16384)
				data = data or partial
				if data and data ~= "" then
					table.insert(self.buffer, data)
				end
				if err == "wantread" or err == "wantwrite" or err == "timeout" then return end
				self.eof = err
			end
		end
		function peer:send(data, timeout)
			local deadline, sent = s.now() + (timeout or 10), 0
			while sent < #data do
				local last, err, partial = self.sock:send(data, sent + 1)
				sent = last or partial or sent
				if not last then
					if err ~= "wantwrite" and err ~= "wantread" and err ~= "timeout" then return nil, err, sent end
					if s.now() > deadline then return nil, "timeout", sent end
					s.sleep(0)
				end
			end
			return true
		end
		return peer
	end

	function tls.handshake(peer, cfg, sni)
		local sock = assert(ssl.wrap(peer.sock, configuration[cfg or ""] or cfg or { mode = "client", protocol = "sslv23" }))
		sock:settimeout(0)
		if sni then sock:sni(sni) end
		local deadline = s.now() + 5
		while true do
			local ok, err = sock:dohandshake()
			if ok then
				return tls_peer(sock)
			elseif err ~= "wantread" and err ~= "wantwrite" and err ~= "timeout" then
				sock:close()
				return nil, err
			elseif s.now() > deadline then
				sock:close()
				return nil, "timeout"
			end
			s.sleep(0)
		end
	end

	function tls.connect(port, cfg, sni)
		return tls.handshake(s.peer(port), cfg, sni)
	end

	function tls.listen(listeners, ctx, config)
		return s.listen(listeners, merged({ tls_ctx = ctx, tls_direct = true }, config or {}))
	end

	function tls.openssl(arguments, input)
		local output = dir.."/output"
		write_file(dir.."/input", input or "")
		local ok = os.execute(("cd '%s' && openssl %s <input >'%s' 2>&1"):format(dir, arguments, output))
		return read_file(output), ok
	end

	function tls.command(arguments, input)
		serial = serial + 1
		local prefix = ("%s/%d"):format(dir, serial)
		write_file(prefix..".in", input or "")
		write_file(prefix..".out", "")
		os.execute(("cd '%s' && { openssl %s <'%s.in' >'%s.out' 2>&1 & echo $! >'%s.pid'; }"):format(dir, arguments, prefix, prefix, prefix))
		local command = {}
		function command:output() return read_file(prefix..".out") end
		function command:kill() os.execute(("kill -KILL $(cat '%s.pid') 2>/dev/null"):format(prefix)) end
		return command
	end

	-- The certificate of the peer's end by its name
	function tls.common_name(peer)
		local cert = peer.sock:getpeercertificate()
		for _, entry in ipairs(cert and cert:subject() or {}) do
			if entry.name == "commonName" then return entry.value end
		end
	end

	-- Peer's certificate as a connecting client sees it: the name | nil, err
	function tls.name_at(port, sni, cfg)
		local peer, err = tls.connect(port, cfg, sni)
		if not peer then return nil, err end
		local name = tls.common_name(peer)
		peer:close()
		return name
	end

	tls.socket = socket
	return tls
end
