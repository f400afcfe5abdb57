-- Items 110 to 112: which certificates and keys of our own are loaded, and what is said of those that are not.

local t = require "harness"
local support = require "tls_support"

-- What the scripts start from. The password is "secret"
local material = [[
self() { openssl req -x509 -new -key "$1" -passin pass:secret -subj /CN=example.com -days 2 -out "$2" $3; }
[ -e rsa.key ] || {
	openssl genrsa -out rsa.key 2048; self rsa.key rsa.crt ''
	openssl ecparam -name prime256v1 -genkey -noout -out ec.key; self ec.key ec.crt ''
	printf '\357\273\277' > bom
}
]]

-- Each makes n.crt and n.key
local served = {
	{ "the key as openssl req encrypts it", "openssl req -x509 -newkey rsa:2048 -passout pass:secret -keyout n.key -out n.crt -days 2 -subj /CN=example.com" },
	{ "PBES2 with Triple-DES", "openssl pkcs8 -topk8 -v2 des3 -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt" },
	{ "PBES2 with hmacWithSHA1", "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt" },
	{ "PBES2 with hmacWithSHA384", "openssl pkcs8 -topk8 -v2 aes-192-cbc -v2prf hmacWithSHA384 -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt" },
	{ "scrypt", "openssl pkcs8 -topk8 -scrypt -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt" },
	{ "PKCS#12's Triple-DES", "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt" },
	{ "PKCS#12's two-key Triple-DES", "openssl pkcs8 -topk8 -v1 PBE-SHA1-2DES -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt" },
	{ "a traditional key under Triple-DES", "openssl rsa -traditional -des3 -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt" },
	{ "a traditional key under AES", "openssl ec -aes192 -in ec.key -passout pass:secret -out n.key; cp ec.crt n.crt" },
	{ "a byte order mark", "cat bom rsa.crt >n.crt; cat bom rsa.key >n.key" },
	{ "an encrypted key behind a line in Latin-1",
		"{ printf 'gr\\374n\\n'; openssl pkcs8 -topk8 -in rsa.key -passout pass:secret; } >n.key; cp rsa.crt n.crt" },
	{ "CRLF", "sed 's/$/\\r/' rsa.crt >n.crt; sed 's/$/\\r/' rsa.key >n.key" },
	{ "text around", "openssl x509 -in rsa.crt -text >n.crt; openssl rsa -in rsa.key -text >n.key" },
	{ "one file for both", "cat rsa.key rsa.crt >n.crt; cp n.crt n.key" },
	{ "the parameters before an EC key", "openssl ecparam -name prime256v1 >n.key; cat ec.key >>n.key; cp ec.crt n.crt" },
	{ "TRUSTED CERTIFICATE", "openssl x509 -in rsa.crt -trustout -addtrust serverAuth -out n.crt; cp rsa.key n.key" },
	{ "X509 CERTIFICATE", "sed 's/ CERT/ X509 CERT/' rsa.crt >n.crt; cp rsa.key n.key" },
	{ "X.509 version 1", "openssl req -new -key rsa.key -subj /CN=example.com -out n.csr; openssl x509 -req -in n.csr -signkey rsa.key -days 2 -out n.crt; cp rsa.key n.key" },
	{ "a critical extension that is known", "self rsa.key n.crt '-addext certificatePolicies=critical,1.2.3.4'; cp rsa.key n.key" },
	{ "a critical extension that nobody knows", "self rsa.key n.crt '-addext 1.2.3.4=critical,DER:0500'; cp rsa.key n.key" },
	{ "a certificate for clients", "self rsa.key n.crt '-addext extendedKeyUsage=clientAuth'; cp rsa.key n.key" },
	{ "an RSA-PSS key", "openssl genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -out n.key; self n.key n.crt ''" },
	{ "an RSA key of three primes", "openssl genrsa -primes 3 -out n.key 2048; self n.key n.crt ''" },
	{ "an EC key with explicit parameters", "openssl ecparam -name prime256v1 -genkey -noout -param_enc explicit -out n.key; self n.key n.crt ''" },
	{ "an EC key with a compressed point", "openssl ec -in ec.key -conv_form compressed -out n.key; self n.key n.crt ''" },
	{ "Ed25519", "openssl genpkey -algorithm ed25519 -out n.key; self n.key n.crt ''" },
	{ "P-521", "openssl ecparam -name secp521r1 -genkey -noout -out n.key; self n.key n.crt ''" },
}

-- What stock has and the TLS library of ours has not
local refused_here = {
	{ "Ed448", "openssl genpkey -algorithm ed448 -out n.key; self n.key n.crt ''",
		"error loading private key (keys of the kind Ed448 are not supported: issue a certificate for ECDSA on P-256, or RSA of 2048 bits)" },
	{ "PBES2 with Camellia", "openssl pkcs8 -topk8 -v2 camellia-256-cbc -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt",
		"error loading private key (CAMELLIA-256-CBC is not supported: encrypt the key with AES-256-CBC)" },
	{ "PBES2 with ARIA", "openssl pkcs8 -topk8 -v2 aria-256-cbc -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt",
		"error loading private key (ARIA-256-CBC is not supported: encrypt the key with AES-256-CBC)" },
	{ "a traditional key under Camellia", "openssl rsa -traditional -camellia256 -in rsa.key -passout pass:secret -out n.key; cp rsa.crt n.crt",
		"error loading private key (CAMELLIA-256-CBC is not supported: encrypt the key with AES-256-CBC)" },
}

-- On stock, too. Which word OpenSSL finds for a file differs between its decoders: what LuaSec begins with is what Prosody reads
local refused = {
	{ "a key of 1024 bits", "openssl genrsa -out n.key 1024; self n.key n.crt ''", "^error loading certificate %(ee key too small%)$" },
	{ "a key of another certificate", "openssl genrsa -out n.key 2048; cp rsa.crt n.crt", "^private key does not match public key$" },
	{ "a key of another kind", "cp ec.key n.key; cp rsa.crt n.crt", "^private key does not match public key$" },
	{ "an empty certificate", ": >n.crt; cp rsa.key n.key", "^error loading certificate %(no start line%)$" },
	{ "an empty key", ": >n.key; cp rsa.crt n.crt", "^error loading private key %(" },
	{ "a certificate that is cut off", "head -5 rsa.crt >n.crt; cp rsa.key n.key", "^error loading certificate %(bad end line%)$" },
	{ "a key that is cut off", "head -5 rsa.key >n.key; cp rsa.crt n.crt", "^error loading private key %(" },
	{ "a certificate in DER", "openssl x509 -in rsa.crt -outform der -out n.crt; cp rsa.key n.key", "^error loading certificate %(no start line%)$" },
}

-- Files that have served once serve on when what replaces them is no good: each case has names of its own
local function maker(s, tls)
	local serial = 0
	return function (what, script)
		tls.write_file(tls.dir.."/script", "set -eu\n"..material..script)
		if not os.execute(("cd '%s' && sh script >log 2>&1"):format(tls.dir)) then
			s.fail(what..": "..tls.read_file(tls.dir.."/log"))
		end
		serial = serial + 1
		local name = ("%s/own%d"):format(tls.dir, serial)
		os.rename(tls.dir.."/n.crt", name..".crt")
		os.rename(tls.dir.."/n.key", name..".key")
		return tls.context {
			mode = "server", protocol = "sslv23", certificate = name..".crt", key = name..".key", password = "secret",
		}
	end
end

t.item(110, "whatever certificate and key OpenSSL loads is served, and what is not is refused by its name", function (s)
	local tls = support(s)
	local make = maker(s, tls)

	local function check_served(what, script)
		local ctx, err = make(what, script)
		s.ok(ctx, what..": "..tostring(err))
		local listening, port = tls.listen(s.recorder(), ctx)
		for _, protocol in ipairs { "tlsv1_2", "tlsv1_3" } do
			local peer, why = tls.connect(port, { mode = "client", protocol = protocol })
			s.ok(peer, ("%s, %s: %s"):format(what, protocol, why))
			s.eq(tls.common_name(peer), "example.com", what)
			peer:close()
		end
		listening:close()
	end

	for _, case in ipairs(served) do
		check_served(case[1], case[2])
	end
	for _, case in ipairs(refused_here) do
		local what, script, words = table.unpack(case)
		if s.is_trochee then
			local ctx, err = make(what, script)
			s.eq(ctx, nil, what)
			s.eq(err, words, what)
		else
			check_served(what, script)
		end
	end
	for _, case in ipairs(refused) do
		local what, script, words = table.unpack(case)
		local ctx, err = make(what, script)
		s.eq(ctx, nil, what)
		s.ok(tostring(err):find(words), ("%s: %s"):format(what, err))
	end
end)

t.item(111, "of an RSA and an ECDSA certificate for one name, each client is shown the one that it can use", function (s)
	local tls = support(s)
	local rsa, ec = tls.cert("example.com", { key = "rsa" }), tls.cert("example.com")
	for _, certificates in ipairs { { rsa, ec }, { ec, rsa } } do
		local list = {}
		for i, cert in ipairs(certificates) do
			list[i] = { certificate = cert.certificate, key = cert.key }
		end
		local listening, port = tls.listen(s.recorder(), tls.server(nil, { certificates = list }))
		for _, case in ipairs {
			{ rsa, "-tls1_3 -sigalgs RSA-PSS+SHA256" }, { ec, "-tls1_3 -sigalgs ECDSA+SHA256" },
			{ rsa, "-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384" }, { ec, "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384" },
			{ ec, "-tls1_3" }, { ec, "-tls1_2" }, { rsa, "-tls1_3 -sigalgs RSA-PSS+SHA256:ECDSA+SHA256" },
		} do
			local expected, arguments = table.unpack(case)
			local command = tls.command(("s_client -connect 127.0.0.1:%d %s"):format(port, arguments))
			local output = s.wait(function ()
				local text = command.output()
				return text:find("Verify return code", 1, true) and text
			end, 5, "s_client "..arguments)
			command:kill()
			local shown = output:match("%-%-%-%-%-BEGIN CERTIFICATE.-END CERTIFICATE%-%-%-%-%-\n")
			s.eq(shown, expected.pem, arguments)
		end
		listening:close()
	end
end)

t.item(112, "what the system refuses is said in the system's words, with the file", function (s)
	local tls = support(s)
	local cert = tls.cert("example.com")
	local missing = tls.dir.."/missing.pem"
	local cases = {
		{ { key = missing }, "error loading private key (No such file or directory)" },
		{ { certificate = missing }, "error loading certificate (No such file or directory)" },
		{ { key = tls.dir }, "error loading private key (Is a directory)" },
		{ { cafile = missing }, "error loading CA locations (No such file or directory)" },
	}
	for _, case in ipairs(cases) do
		local changed, words = table.unpack(case)
		local ctx, err = tls.context(tls.merged({
			mode = "server", protocol = "sslv23", certificate = cert.certificate, key = cert.key,
		}, changed))
		s.eq(ctx, nil, words)
		s.eq(err, words)
	end
end, { stock = {
	epoll = { "OpenSSL 3 has no words for errors of the system, and LuaSec says so", match = "%(null%)" },
	event = { "OpenSSL 3 has no words for errors of the system, and LuaSec says so", match = "%(null%)" },
	select = { "OpenSSL 3 has no words for errors of the system, and LuaSec says so", match = "%(null%)" },
} })
