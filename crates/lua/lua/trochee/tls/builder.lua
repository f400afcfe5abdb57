-- TLS contexts as Prosody 13.0 makes them: util.sslconfig collects what is configured, and has a backend build from it.
--
-- LuaSec builds as well, in trochee.tls.context, as it does where a module calls it: so the error texts that certmanager parses are
-- its own, and the same configuration kept over a failed reload serves here too.

local tls = require "trochee.tls.context";

local io, pcall, setmetatable, type = io, pcall, setmetatable, type;

local methods = {};
local mt = { __index = methods };

-- The certificate for clients that ask for this host: true | false, why not. Portmanager calls it on what sslctx() of a
-- listener gives, at any time
function methods:set_sni_host(host, certificate, key)
	-- sni_host tells this context from those of other hosts (trochee.tls), LuaSec does not look at it
	local ctx, err = self._builder:clone():apply({ certificate = certificate, key = key, sni_host = host }):build();
	if not ctx then
		return false, err;
	end
	self.hosts[host] = ctx;
	return true;
end

function methods:remove_sni_host(host)
	self.hosts[host] = nil;
end

-- For modules with a LuaSocket object of their own: LuaSec's object around it | nil, why not
function methods:wrap(sock)
	-- Looked at first: LuaSec's object that gets no descriptor closes, when it is collected, whatever number its memory holds
	local ok, fd = pcall(function () return sock:getfd(); end);
	if not ok or type(fd) ~= "number" or fd < 0 then
		return nil, "not a socket";
	end
	local conn, err;
	ok, conn, err = pcall(require "ssl".wrap, sock, self._luasec);
	if not ok then
		return nil, conn;
	end
	return conn, err;
end

-- LuaSec wants a function; what is configured is the parameters or the path of their file
local function dhparam(value)
	if type(value) ~= "string" then
		return value;
	end
	if value:sub(1, 10) ~= "-----BEGIN" then
		local file, err = io.open(value);
		if not file then
			return nil, "Could not open DH parameters: "..err;
		end
		value = file:read("*a");
		file:close();
	end
	return function () return value; end
end

-- config: LuaSec's, of this build alone; builder: what it comes from
local function new_context(config, builder)
	local err;
	config.dhparam, err = dhparam(config.dhparam);
	if err then
		return nil, err;
	end
	local luasec, why = tls.newcontext(config);
	if not luasec then
		return nil, why;
	end
	local self = setmetatable({ _luasec = luasec, _builder = builder, hosts = {} }, mt);
	tls.alias(self, luasec);
	return self;
end

-- Before 13.0 and outside Prosody there is no util.sslconfig that takes a factory
local has_sslconfig, sslconfig = pcall(require, "util.sslconfig");
local can_build = has_sslconfig and sslconfig._new and tls.newcontext;

return {
	-- A builder; relative paths begin at basedir
	new = can_build and function (basedir)
		return sslconfig._new(new_context, basedir);
	end or nil;
};
