--[[
The far end of the corpus: a process that shows one certificate after another, by LuaSec.

	OPENSSL_CONF=FILE lua5.4 peer.lua PORT PROSODY_SOURCE_DIR

connects to PORT of the loopback and reads orders, each a line of JSON; it answers each with one. It is a process of its own since
OpenSSL's security level holds for the whole process: the far end has none, whatever it shows, and the near end has the machine's.

	{ role = "client", port = to where } or { role = "server" }, which is answered by { port = where } before the result
	certificate, key, protocol, ciphers     LuaSec's
	-> { ok, why, protocol, cipher, sha256 and chain of the certificate that the near end showed, ending = how the connection ended }
]]

local port, source_dir = ...
package.path = source_dir.."/?.lua;"..package.path
package.cpath = source_dir.."/?.so;"..package.cpath
if io.open(source_dir.."/loader.lua") then require "loader" end
local json = require "util.json"
local socket = require "socket"
local ssl = require "ssl"

local patience = 20
local control = assert(socket.connect("127.0.0.1", tonumber(port)))

local function answer(result)
	assert(control:send(json.encode(result).."\n"))
end

local function handshake(sock, order)
	local conn, why = ssl.wrap(sock, {
		mode = order.role, protocol = order.protocol or "any", certificate = order.certificate, key = order.key,
		ciphers = (order.ciphers or "ALL").."@SECLEVEL=0",
		curveslist = "X25519:P-256:P-384:P-521:brainpoolP256r1:secp256k1:secp224r1",
		verify = order.role == "server" and { "peer", "client_once" } or "peer", verifyext = { "lsec_continue" },
	})
	if not conn then
		sock:close()
		return { ok = false, why = "the far end cannot show it: "..tostring(why) }
	end
	conn:settimeout(patience)
	local ok
	ok, why = conn:dohandshake()
	local result = { ok = ok == true, why = why }
	if ok then
		local info, cert = conn:info(), conn:getpeercertificate()
		result.protocol, result.cipher = info.protocol, info.cipher
		result.sha256, result.chain = cert and cert:digest("sha256"), #(conn:getpeerchain() or {})
		-- The near end may end it only now: with TLS 1.3 a client is done before its certificate has been looked at
		result.ending = select(2, conn:receive(1))
	end
	conn:close()
	return result
end

for line in function () return (control:receive("*l")) end do
	local order = json.decode(line)
	if order.role == "client" then
		local sock, why = socket.connect("127.0.0.1", order.port)
		if sock then sock:settimeout(patience) end
		answer(sock and handshake(sock, order) or { ok = false, why = why })
	else
		local listening = assert(socket.bind("127.0.0.1", 0))
		listening:settimeout(patience)
		answer { port = select(2, listening:getsockname()) }
		local sock, why = listening:accept()
		listening:close()
		answer(sock and handshake(sock, order) or { ok = false, why = why })
	end
end
