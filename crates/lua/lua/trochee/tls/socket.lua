-- What conn:socket() gives once TLS is on: LuaSec's methods besides those of a plain connection.
--
-- Prosody 0.12 asks it about certificates, protocol and ALPN. Certificates are LuaSec's own objects, because util.x509 and
-- modules call their methods.

local core = require "trochee.state".core;
local plain_methods = require "trochee.socket".methods;
local loadcertificate = require "trochee.tls.context".loadcertificate;
local unpack = require "trochee.compat".unpack;

local methods = setmetatable({}, { __index = plain_methods });
local mt = { __index = methods };

function mt:__tostring()
	return ("TLS socket of %s"):format(tostring(self.handle));
end

-- What `openssl ciphers -v` has to say beyond the name
local function describe(info)
	local cipher = info.cipher;
	info.key, info.authentication = "any", "any";
	if info.protocol ~= "TLSv1.3" then
		info.key, info.authentication = "ECDH", cipher:match("^ECDHE%-(%u+)%-");
	end
	info.encryption = ("%s(%d)"):format(cipher:find("CHACHA20", 1, true) and "CHACHA20/POLY1305" or "AESGCM", info.bits);
	info.algbits, info.mac, info.export = info.bits, "AEAD", false;
	return info;
end

-- Table, or one of its fields; nil before the handshake is complete
function methods:info(field)
	local info = core.tls_info(self.handle[1]);
	if not info then
		return nil;
	elseif field then
		return describe(info)[field];
	end
	return describe(info);
end

-- TLS compression does not exist here
function methods:compression() -- luacheck: ignore 212/self
	return nil;
end

function methods:getsniname()
	return self:info("server_name");
end

function methods:getalpn()
	return self:info("alpn");
end

--- Certificates

-- The objects cost memory, and most connections are never asked
local function chain(self)
	local handle = self.handle;
	if handle._peer_chain then
		return handle._peer_chain;
	elseif not loadcertificate then
		return nil, "certificates need LuaSec";
	end
	local pems = core.peer_certificates(handle[1]);
	if not pems then
		return nil, "closed";
	end
	local certificates = {};
	for i, pem in ipairs(pems) do
		local certificate, err = loadcertificate(pem);
		if not certificate then
			return nil, err;
		end
		certificates[i] = certificate;
	end
	handle._peer_chain = certificates;
	return certificates;
end

-- The n-th of the peer's chain, its own is the first
function methods:getpeercertificate(n)
	n = n or 1;
	if n < 1 then
		return nil, "invalid certificate index";
	end
	local certificates, err = chain(self);
	if not certificates then
		return nil, err;
	end
	return certificates[n];
end

function methods:getpeerchain()
	local certificates, err = chain(self);
	if not certificates then
		return nil, err;
	end
	return { unpack(certificates) };
end

-- Our own, of which mod_saslauth makes tls-server-end-point
function methods:getlocalcertificate()
	local pem = core.local_certificate(self.handle[1]);
	if not pem then
		return nil;
	elseif not loadcertificate then
		return nil, "certificates need LuaSec";
	end
	return loadcertificate(pem);
end

-- true, also where there is no certificate | false, lists of OpenSSL's words by depth + 1
function methods:getpeerverification()
	local by_depth = core.peer_verification(self.handle[1]);
	if not by_depth then
		return false, "closed";
	end
	local errors = {};
	for i, texts in ipairs(by_depth) do
		if texts[1] then
			errors[i] = texts;
		end
	end
	if next(errors) == nil then
		return true;
	end
	return false, errors;
end

--- Channel binding

-- The Finished messages would be tls-unique, which TLS 1.3 does not have, and whose use with TLS 1.2 needs more than the
-- library offers. Nil is how mod_saslauth learns that
function methods:getpeerfinished() -- luacheck: ignore 212/self
	return nil;
end

methods.getfinished = methods.getpeerfinished;

function methods:exportkeyingmaterial(label, length, context)
	return core.export_keying_material(self.handle[1], label, length, context);
end

--- What the loop does by itself

function methods:dohandshake()
	if self:info() then
		return true;
	end
	return false, self.handle[1] and "wantread" or "closed";
end

function methods:want() -- luacheck: ignore 212/self
	return "nothing";
end

-- The object of a handle that has none yet
return {
	new = function (handle)
		return setmetatable({ handle = handle }, mt);
	end;
};
