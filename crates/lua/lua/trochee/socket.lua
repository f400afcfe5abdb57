-- What conn:socket() gives: the part of LuaSocket's TCP object that makes sense while the core reads and writes.
--
-- Members of LuaSec's objects (info, getpeercertificate, getsniname, …) are absent: that is how modules recognise a plain
-- connection. trochee.tls.socket adds them.

local core = require "trochee.state".core;

local methods = {};
local mt = { __index = methods };

function mt:__tostring()
	return ("socket of %s"):format(tostring(self.handle));
end

local function name(address, port)
	if not address then return nil, "closed"; end
	return address, port, address:find(":", 1, true) and "inet6" or "inet";
end

function methods:getpeername()
	local peername, peerport = core.names(self.handle[1]);
	return name(peername, peerport);
end

function methods:getsockname()
	local _, _, sockname, sockport = core.names(self.handle[1]);
	return name(sockname, sockport);
end

function methods:getfd()
	return self.handle:getfd();
end

function methods:setoption(option, value)
	local ok, err = core.set_option(self.handle[1], option, value);
	if ok then return 1; end
	return nil, err;
end

-- The value, as LuaSocket has it | nil, why not
function methods:getoption(option)
	return core.option(self.handle[1], option);
end

-- Accepted without effect: it never blocks
function methods:settimeout() -- luacheck: ignore 212/self
	return 1;
end

-- False: the loop delivers everything that is buffered
function methods:dirty() -- luacheck: ignore 212/self
	return false;
end

function methods:close()
	self.handle:close();
	return 1;
end

return {
	methods = methods;
	new = function (handle)
		return setmetatable({ handle = handle }, mt);
	end;
};
