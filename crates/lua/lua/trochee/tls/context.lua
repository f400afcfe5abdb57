-- TLS contexts: from what Prosody hands over to what the core understands.
--
-- Prosody 0.12 has LuaSec build its contexts and hands these over, and nothing can be read back from them. So LuaSec is
-- made to say what it builds from: this file is loaded before core.certmanager and replaces ssl.newcontext by a function
-- that remembers. LuaSec still builds and checks, because certmanager parses its error texts.

local state = require "trochee.state";

local core, log = state.core, state.log;
local ipairs, pairs, pcall, setmetatable, tostring, type = ipairs, pairs, pcall, setmetatable, tostring, type;
local table_concat = table.concat;

local has_luasec, ssl = pcall(require, "ssl");

-- LuaSec context or raw table -> { config = LuaSec's configuration table, native = the core's context once built }
local known = setmetatable({}, { __mode = "k" });

-- What the caller does with his table afterwards is not meant for a context that exists
local function copy(value, seen)
	if type(value) ~= "table" then return value; end
	seen = seen or {};
	if seen[value] then return seen[value]; end
	local new = {};
	seen[value] = new;
	for k, v in pairs(value) do
		new[k] = copy(v, seen);
	end
	return new;
end

--- What the core is told

-- LuaSec takes a list or its only element
local function list(value)
	if value == nil or value == false then return nil; end
	return type(value) == "table" and value or { value };
end

-- OpenSSL's notation; a table is what Prosody's util.sslconfig joins. What cannot be joined the core complains about
local function joined(value)
	local ok, text = pcall(table_concat, value, ":");
	return ok and text or value;
end

local function password(value)
	if type(value) ~= "function" then return value; end
	local ok, text = pcall(value);
	return ok and type(text) == "string" and text or nil;
end

-- As LuaSec has it: a list takes the place of the only one
local function certificates(config)
	local listed = {};
	for i, entry in ipairs(type(config.certificates) == "table" and config.certificates or { config }) do
		listed[i] = { certificate = entry.certificate, key = entry.key, password = password(entry.password) };
	end
	return listed;
end

-- Settings as trochee::tls::Settings has them
local function settings_of(config)
	local alpn = config.alpn;
	return {
		mode = config.mode;
		certificates = certificates(config);
		cafile = config.cafile;
		capath = config.capath;
		protocol = config.protocol;
		ciphers = joined(config.ciphers);
		ciphersuites = joined(config.ciphersuites);
		curveslist = joined(config.curveslist or config.curve);
		options = list(config.options);
		verify = list(config.verify);
		verifyext = list(config.verifyext);
		depth = config.depth;
		-- A function is asked when a client says what it offers
		alpn = type(alpn) ~= "function" and list(alpn) or nil;
		dhparam = config.dhparam and true or false;
	};
end

-- A configuration has many contexts that differ in their files only: each remark is made once
local remarked = {};

local function remark(text)
	if not remarked[text] then
		remarked[text] = true;
		log("info", "TLS: %s", text);
	end
end

local function build(record)
	if not record.native then
		local config = record.config;
		local native, remarks, file = core.tls_context(settings_of(config));
		if not native then
			return nil, remarks, file;
		end
		for _, text in ipairs(remarks) do
			remark(text);
		end
		record.native = native;
	end
	return record;
end

-- The record, with its native context, of what a caller calls a context: nil, why not
local function context(ctx)
	local record = known[ctx];
	if record then
		return build(record);
	elseif ctx == nil or ctx == false then
		return nil, "there is no TLS context";
	elseif type(ctx) == "table" then
		local built, err = build { config = copy(ctx) };
		-- Only a success is kept: the next attempt may find the missing file
		known[ctx] = built;
		return built, err;
	end
	return nil, ("unknown TLS context (%s): it was made before net.server_trochee was loaded, or not by ssl.newcontext")
		:format(tostring(ctx));
end

--- LuaSec

-- A function that asks for a password may do so on the terminal or log an error: it is called as often as LuaSec does
local function remember_password(settings)
	local ask = settings.password;
	if type(ask) ~= "function" then return settings.password; end
	local answer;
	return function (...)
		answer = ask(...);
		return answer;
	end, function ()
		return answer;
	end;
end

-- The two copies: one for LuaSec to build from, one to remember
local function remembered(cfg)
	local given, kept = copy(cfg), copy(cfg);
	given.password, kept.password = remember_password(cfg);
	kept.password = kept.password or given.password;
	for i, certificate in ipairs(type(cfg.certificates) == "table" and cfg.certificates or {}) do
		local ask, answer = remember_password(certificate);
		given.certificates[i].password, kept.certificates[i].password = ask, answer or ask;
	end
	return given, kept;
end

-- Everything in a configuration that can be compared, as text. Lists are sorted: util.sslconfig makes them of sets, in any
-- order
local function signature(value)
	if type(value) ~= "table" then
		return ("%s %q"):format(type(value), type(value) == "function" and "" or tostring(value));
	end
	local fields = {};
	for k, v in pairs(value) do
		-- Prosody has dane as nil or a list at the start and as false or true after a reload; it does not concern certificates
		if v and k ~= "dane" then
			fields[#fields+1] = (type(k) == "number" and "" or signature(k).." = ")..signature(v);
		end
	end
	table.sort(fields);
	return "{ "..table_concat(fields, "; ").." }";
end

-- Signature -> the context that it led to last. It is held here: of several that are alike the one that was made last may be
-- the first to be forgotten, while another one is in use
local last = {};

-- Certificates about which it was said that they are kept: Prosody makes a dozen contexts of each
local kept_back = {};

-- LuaSec's context and our record of it | nil, why not, the file at fault if that is known
local function new_context(newcontext, cfg)
	local given, kept = remembered(cfg);
	local record = { config = kept };
	local ctx, err = newcontext(given);
	if not ctx then
		-- OpenSSL has no words for what the system refuses
		local unexplained = tostring(err):find("((null))", 1, true) or tostring(err):find("(system lib)", 1, true);
		local _, why, file = build(record);
		return nil, unexplained and why or err, file;
	end
	-- A certificate is loaded now: a moment later its files may belong to a renewal that is half done, or no longer be
	-- readable. And what cannot be used is better known when the server starts than when somebody connects
	if cfg.certificate or cfg.certificates then
		local ok, why, file = build(record);
		if not ok then
			return nil, why, file;
		end
	end
	return ctx, record;
end

local function wrap_newcontext(newcontext)
	return function (cfg)
		if type(cfg) ~= "table" then
			return newcontext(cfg);
		end
		local ctx, record, file = new_context(newcontext, cfg);
		if ctx then
			known[ctx] = record;
		end
		if cfg.certificate or cfg.certificates then
			local text = signature(cfg);
			local name = tostring(cfg.certificate or type(cfg.certificates[1]) == "table" and cfg.certificates[1].certificate);
			if not ctx and last[text] then
				-- mod_tls would take the nil for its new context, and no longer offer STARTTLS
				if not kept_back[name] then
					kept_back[name] = true;
					log("error", "Keeping what was loaded before for the certificate %s: %s%s", name, file and file..": " or "", record);
				end
				return last[text];
			end
			last[text], kept_back[name] = ctx, nil;
		end
		if not ctx then
			return nil, record;
		end
		return ctx;
	end
end

-- What LuaSec's functions change in a context that exists already: certmanager sets the ciphers again. Within newcontext
-- they do nothing here, the context is not known yet
local setters = {
	setmode = function (config, mode) config.mode = mode; end;
	setcipher = function (config, ciphers) config.ciphers = ciphers; end;
	setciphersuites = function (config, ciphersuites) config.ciphersuites = ciphersuites; end;
	setcurve = function (config, curve) config.curveslist = curve; end;
	setcurveslist = function (config, curveslist) config.curveslist = curveslist; end;
	setdepth = function (config, depth) config.depth = depth; end;
	setverify = function (config, ...) config.verify = { ... }; end;
	setoptions = function (config, ...)
		local options = { ... };
		-- OpenSSL adds them to those that are set
		for _, option in ipairs(list(config.options) or {}) do
			options[#options+1] = option;
		end
		config.options = options;
	end;
	setdhparam = function (config, dhparam) config.dhparam = dhparam; end;
	setdane = function (config, ...) config.dane = { ... }; end;
	locations = function (config, cafile, capath) config.cafile, config.capath = cafile, capath; end;
	loadkey = function (config, key, with) config.certificates, config.key, config.password = nil, key, with; end;
	loadcert = function (config, certificate) config.certificates, config.certificate = nil, certificate; end;
};

local function setverifyext(config, ...)
	config.verifyext = { ... };
end

local function equal(a, b)
	if type(a) == "table" and type(b) == "table" then
		for i = 1, math.max(#a, #b) do
			if a[i] ~= b[i] then return false; end
		end
		return true;
	end
	return a == b;
end

-- Calls LuaSec's function, and on success makes the same change here
local function tracked(original, change)
	return function (ctx, ...)
		local ok, err = original(ctx, ...);
		local record = ok ~= false and ok ~= nil and known[ctx];
		if record then
			local before = {};
			for k, v in pairs(record.config) do before[k] = v; end
			change(record.config, ...);
			for _, changed in ipairs { before, record.config } do
				for k in pairs(changed) do
					if not equal(before[k], record.config[k]) then
						record.native = nil;
					end
				end
			end
		end
		return ok, err;
	end
end

local function watch_luasec()
	ssl.newcontext = wrap_newcontext(ssl.newcontext);
	local ssl_context = require "ssl.context";
	for name, change in pairs(setters) do
		if ssl_context[name] then
			ssl_context[name] = tracked(ssl_context[name], change);
		end
	end
	-- The only method that contexts have
	local probe = ssl_context.create("sslv23") or ssl_context.create("any");
	local methods = probe and getmetatable(probe).__index;
	if type(methods) == "table" and methods.setverifyext then
		methods.setverifyext = tracked(methods.setverifyext, setverifyext);
	end
end

if has_luasec then
	local ok, err = pcall(watch_luasec);
	if not ok then
		log("error", "This LuaSec is not one that TLS contexts can be learnt from: %s", err);
	end
end

return {
	context = context;
	-- As wrapped above: what it makes can be used here
	newcontext = has_luasec and ssl.newcontext or nil;
	-- Something that stands for a LuaSec context
	alias = function (object, ctx)
		known[object] = known[ctx];
	end;
	-- A LuaSec certificate object; LuaSec is where Prosody and its modules know these from
	loadcertificate = has_luasec and ssl.loadcertificate or nil;
};
