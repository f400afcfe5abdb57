-- TLS on handles: when it begins, which context it takes, and what there is to know about it.
--
-- The core does the handshake, and nothing that arrives in plaintext after start_tls reaches a listener. What is left is
-- choosing: a server asks which certificate belongs to the name that a client wants.

local state = require "trochee.state";
local timers = require "trochee.timers";
local handle = require "trochee.handle";
local ends = require "trochee.ends";
local tls = require "trochee.tls.context";
local compat = require "trochee.compat";

local core, handles, log = state.core, state.handles, state.log;
local emit, methods = handle.emit, handle.methods;
local ipairs, next, pairs, type, traceback = ipairs, next, pairs, type, debug.traceback;
local xpcall = compat.xpcall;

--- Beginning

local function filled(hosts)
	return type(hosts) == "table" and next(hosts) ~= nil and hosts or nil;
end

-- The contexts of a listener by name: a live table that portmanager fills, of the listener in 0.12 and of its context, which
-- trochee.tls.builder has made, in 13.0
local function hosts_of(self, ctx)
	return filled(self._server and self._server.hosts) or type(ctx) == "table" and filled(ctx.hosts) or nil;
end

-- What DNS says about the peer's certificate, as net.resolvers found it; only where the context asks for it
local function dane(self, context)
	local extra = self.extra;
	if not context.config.dane or type(extra) ~= "table" or type(extra.tlsa) ~= "table" then
		return nil;
	end
	local records = {};
	for i, record in ipairs(extra.tlsa) do
		records[i] = { use = record.use; select = record.select; match = record.match; data = record.data };
	end
	return records;
end

-- true | nil, why not
local function begin(self, ctx, name)
	local context, err = tls.context(ctx);
	if not context then
		return nil, err;
	end
	local server_name, choose;
	if context.config.mode == "client" then
		local servername = self.servername or name;
		server_name = type(servername) == "string" and servername or nil;
	else
		choose = hosts_of(self, ctx) ~= nil or type(context.config.alpn) == "function";
	end
	local ok, err = core.start_tls(self[1], context.native, server_name, choose or false, -- luacheck: ignore 411/err
		dane(self, context));
	if not ok then
		return nil, err;
	end
	self.tls_ctx, self._tls, self.starttls = ctx, true, false;
	self._socket = nil;
	return true;
end

-- The listener hears of it from the loop, never from within starttls(): the caller may still need its session
local function fail(self, err)
	-- A peer that has left is nobody's mistake
	local complain = err == "closed" and self.debug or self.error;
	complain(self, "Cannot start TLS: %s", err);
	-- At once: what is written from now on was not meant to be plaintext
	ends.tell(self, "TLS: "..tostring(err), core.end_info(self[1]));
	core.destroy(self[1]);
	timers.add_task(0, function ()
		if self[1] then
			handle.finish(self, err);
		end
	end);
end

-- Nothing is read any more until starttls(), which mod_tls of 13.0 calls once it has answered
function methods:block_reads()
	if core.pause(self[1]) then
		self._blocked = true;
	end
end

-- What was written before is sent in plaintext, what is read from now on is TLS. name: of the peer, where nothing else
-- says it
function methods:starttls(ctx, name)
	if not self[1] or self._tls then
		return;
	end
	self.starttls = false;
	local ok, err = begin(self, ctx or self.tls_ctx or self._server and self._server.tls_ctx, name);
	if ok then
		-- Only now, when resuming means TLS
		if self._blocked then
			self._blocked = nil;
			core.resume(self[1]);
		end
		self:noise("Prepared to start TLS");
		emit(self, "onstarttls");
	else
		fail(self, err);
	end
end

-- A connection to a port that is TLS from its first byte on: onconnect follows the handshake
local function accept(self)
	self._connecting = true;
	local ok, err = begin(self, self._server.tls_ctx);
	if ok then
		emit(self, "onstarttls");
	else
		fail(self, err);
	end
end

--- Events

-- Hosts as the configuration has them -> their names with A-labels. Strangers cannot add any
local ascii_names = {};

local function ascii_name(host)
	local name = ascii_names[host];
	if not name then
		name = core.ascii_name(host);
		ascii_names[host] = name;
	end
	return name;
end

-- The context of the host that a client asks for. The name has A-labels in lower case; hosts are written as users do
local function named(hosts, name)
	if hosts[name] then
		return hosts[name];
	end
	for host, ctx in pairs(hosts) do
		if type(host) == "string" and ascii_name(host) == name then
			return ctx;
		end
	end
end

-- The client has said what it wants
local function choose(self, server_name, offered)
	local ctx, hosts = self.tls_ctx, hosts_of(self, self.tls_ctx);
	if server_name and hosts then
		ctx = named(hosts, server_name);
		if not ctx then
			self:debug("Refusing TLS: there is no certificate for %q", server_name);
			core.refuse_tls(self[1]);
			return;
		end
	end
	local context, err = tls.context(ctx);
	if not context then
		self:error("Refusing TLS: %s", err);
		core.refuse_tls(self[1]);
		return;
	end
	local protocols;
	if type(context.config.alpn) == "function" and offered[1] then
		local ok, answer = xpcall(context.config.alpn, traceback, offered);
		if not ok then
			self:error("Error in the function alpn: %s", answer);
		elseif type(answer) == "string" then
			protocols = { answer };
		elseif type(answer) == "table" then
			protocols = { compat.unpack(answer) };
		end
	end
	-- A function may do anything
	if self[1] then
		local ok, why = core.accept_tls(self[1], context.native, protocols);
		if not ok then
			self:error("Refusing TLS: %s", why);
			core.refuse_tls(self[1]);
		end
	end
end

-- The handshake is complete
local function secured(self)
	local info = core.tls_info(self[1]);
	if info then
		log("debug", "%s has completed its TLS handshake: %s with %s%s, %s", self.id, info.protocol, info.cipher,
			info.resumed and ", resumed" or "", self);
	end
	emit(self, "onstatus", "ssl-handshake-complete");
	if self._connecting then
		self._connecting = nil;
		if self[1] and not self._closing then
			emit(self, "onconnect");
		end
	end
end

local function on_client_hello(key, server_name, offered)
	local self = handles[key];
	if not self then return; end
	-- Length and name, as in the protocol
	local protocols, at = {}, 1;
	while offered and at <= #offered do
		local next = at + 1 + offered:byte(at);
		protocols[#protocols+1], at = offered:sub(at + 1, next - 1), next;
	end
	choose(self, server_name, protocols);
end

local function on_secured(key)
	local self = handles[key];
	if self then
		secured(self);
	end
end

--- Contexts

function methods:ssl()
	return self._tls;
end

function methods:sslctx()
	return self.tls_ctx;
end

-- For the connections that come from now on. One that cannot be used leaves the old one in its place
function methods:set_sslctx(ctx)
	local context, err = tls.context(ctx);
	if context then
		-- Portmanager of 13.0 gives the new context its hosts afterwards, and leaves out those whose certificate is bad
		local old = self.tls_ctx;
		if type(old) == "table" and type(old.hosts) == "table" and type(ctx) == "table" and type(ctx.hosts) == "table" then
			for host, kept in pairs(old.hosts) do
				ctx.hosts[host] = ctx.hosts[host] or kept;
			end
		end
		self.tls_ctx = ctx;
	else
		self:error("Keeping the TLS context: %s", err);
	end
end

--- What there is to know

local function about(name)
	return function (self, ...)
		local sock = self:socket();
		if not sock then
			return nil, "not-connected";
		elseif not sock[name] then
			return nil, "not-implemented";
		end
		return sock[name](sock, ...);
	end
end

methods.getlocalcertificate = about "getlocalcertificate";
methods.ssl_info = about "info";
methods.ssl_peercertificate = about "getpeercertificate";
methods.ssl_peerverification = about "getpeerverification";
methods.ssl_peerfinished = about "getpeerfinished";
methods.ssl_exportkeyingmaterial = about "exportkeyingmaterial";

return {
	begin = begin;
	accept = accept;
	context = tls.context;
	on_client_hello = on_client_hello;
	on_secured = on_secured;
};
