-- TLS contexts: from what Prosody hands over to what the core understands.
--
-- Prosody 0.12 has LuaSec build its contexts and hands these over, and nothing can be read back from them. So LuaSec is
-- made to say what it builds from: this file is loaded before core.certmanager and replaces ssl.newcontext by a function
-- that remembers. LuaSec still builds and checks, because certmanager parses its error texts.

local state = require "trochee.state";
local timers = require "trochee.timers";
local collector = require "trochee.collector";

local core, log = state.core, state.log;
local ipairs, next, pairs, pcall, select = ipairs, next, pairs, pcall, select;
local setmetatable, tostring, type = setmetatable, tostring, type;
local debug, io = debug, io;
local table_concat = table.concat;

local has_luasec, ssl = pcall(require, "ssl");

-- LuaSec context or raw table -> { config = LuaSec's configuration table; once it is built, native = the core's context,
-- names = the set of the DNS names in its certificate }
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

local function build(record, trusted_files)
	if not record.native then
		local config = record.config;
		local native, remarks, file = core.tls_context(settings_of(config), trusted_files);
		if not native then
			return nil, remarks, file;
		end
		for _, text in ipairs(remarks) do
			remark(text);
		end
		record.native = native;
		record.names = {};
		for _, name in ipairs(core.tls_names(native)) do
			record.names[name] = true;
		end
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

--- Reloads

-- Everything in a configuration that can be compared, as text. Lists are sorted: util.sslconfig makes them of sets, in any
-- order
local function signature(value, except)
	if type(value) ~= "table" then
		return ("%s %q"):format(type(value), type(value) == "function" and "" or tostring(value));
	end
	local fields = {};
	for k, v in pairs(value) do
		-- Prosody has dane as nil or a list at the start and as false or true after a reload; it does not concern certificates
		if v and k ~= "dane" and not (except and except[k]) then
			fields[#fields+1] = (type(k) == "number" and "" or signature(k).." = ")..signature(v);
		end
	end
	table.sort(fields);
	return "{ "..table_concat(fields, "; ").." }";
end

-- What the context is for: the host of a port that SNI chooses by, or what certmanager's create_context was called for, a host
-- or "https port 5281". Nothing in a configuration says so; it is the first argument of who called
local function purpose_of(cfg)
	if cfg.sni_host then return cfg.sni_host; end
	local level = 3;
	local info = debug.getinfo(level, "S");
	while info and level < 16 do
		if info.source:find("certmanager.lua", 1, true) then
			local name, value = debug.getlocal(level, 1);
			return name == "host" and type(value) == "string" and value or nil;
		end
		level = level + 1;
		info = debug.getinfo(level, "S");
	end
end

local files = { certificate = true, key = true };

-- Text that is the same for a context and for the one that a reload makes in its place. Where certmanager finds a certificate
-- to be unreadable it takes another one, or none: so the files count only where nothing else tells contexts apart. Also what
-- the context is for, if that is known
local function place_of(cfg)
	local purpose = purpose_of(cfg);
	return purpose and signature(purpose)..signature(cfg, files) or signature(cfg), purpose;
end

-- A pass is what happens up to the next turn of the loop: a start, or a reload. Prosody makes a dozen contexts of each certificate
-- in it, in any order
local pass, pass_is_open = 0, false;

-- To Lua a context is an object of a few bytes; with what it has outside of the heap, LuaSec's and ours, it takes so many kB
local SIZE = 50;

-- In a pass: what its contexts trust, which is looked at once
local trusted_files;

-- Files of which it was said in this pass that they cannot be used
local said = {};

local function current_pass()
	if not pass_is_open then
		pass_is_open = true;
		trusted_files = core.trusted_files();
		collector.will_be_due();
		timers.add_task(0, function ()
			pass, pass_is_open, said, trusted_files = pass + 1, false, {}, nil;
		end);
	end
	return pass;
end

-- Place -> contexts by number, as long as somebody uses them: several may be alike, and one that was made last may be forgotten
-- first. As values: what is being collected vanishes from weak keys only after its finaliser has run
local places, place_count, sweep_at, made = {}, 0, 64, 0;

local function remember(place, ctx)
	if not places[place] then
		if place_count >= sweep_at then
			for text, contexts in pairs(places) do
				if not next(contexts) then
					places[text], place_count = nil, place_count - 1;
				end
			end
			sweep_at = 64 + 2 * place_count;
		end
		places[place], place_count = setmetatable({}, { __mode = "v" }), place_count + 1;
	end
	made = made + 1;
	places[place][made] = ctx;
	known[ctx].pass = current_pass();
	-- Those of the start replace none
	if pass > 0 then
		collector.weigh(SIZE);
	end
end

-- The newest one of before this pass, which is what a reload replaces, and the newest of the same files
local function last_of(place, cfg)
	local now = current_pass();
	local last, same;
	local last_number, same_number = 0, 0;
	for number, ctx in pairs(places[place] or {}) do
		local record = known[ctx] or {};
		if number > last_number and record.pass ~= now then
			last, last_number = ctx, number;
		end
		local config = record.config or {};
		if config.certificate == cfg.certificate and config.key == cfg.key and number > same_number then
			same, same_number = ctx, number;
		end
	end
	return last, same;
end

-- Why a file cannot be read, in the system's words | nil; and the number of the error
local function unreadable(path)
	local file, err, number = io.open(path);
	if file then
		-- A directory can be opened
		local _;
		_, err, number = file:read(1);
		file:close();
	end
	return err and tostring(err):gsub("^.*: ", ""), number;
end

local ENOENT = 2;

-- The file at fault and why: file is the one that the core names, if it does
local function fault(cfg, err, file)
	local certificate, key = tostring(cfg.certificate), tostring(cfg.key);
	if tostring(err):find("private key does not match", 1, true) then
		return ("%s and %s: %s"):format(certificate, key, err);
	end
	file = file or tostring(err):find("private key", 1, true) and cfg.key or cfg.certificate;
	return file and ("%s: %s"):format(file, err) or tostring(err);
end

local function say_kept(text)
	-- OpenSSL has different words for the same fault, one after the other
	local file = text:match("^(.-): ") or text;
	if not said[file] then
		said[file] = true;
		log("error", "Keeping the certificate that was loaded before: %s", text);
	end
end

-- LuaSec's context and our record of it | nil, why not in LuaSec's words, the file at fault if that is known, why not in the core's
-- words if it finds fault as well: LuaSec's may be about an earlier file, OpenSSL's errors wait in a queue
local function new_context(newcontext, cfg)
	local given, kept = remembered(cfg);
	local record = { config = kept };
	local ctx, err = newcontext(given);
	if not ctx then
		-- OpenSSL has no words for what the system refuses
		local unexplained = tostring(err):find("((null))", 1, true) or tostring(err):find("(system lib)", 1, true);
		local _, why, file = build(record, trusted_files);
		return nil, unexplained and why or err, file, why;
	end
	-- A certificate is loaded now: a moment later its files may belong to a renewal that is half done, or no longer be
	-- readable. And what cannot be used is better known when the server starts than when somebody connects
	if cfg.certificate or cfg.certificates then
		local ok, why, file = build(record, trusted_files);
		if not ok then
			return nil, why, file, why;
		end
	end
	return ctx, record;
end

-- Why the certificate of a context, which is still there, can no longer be loaded | nil
local function damage(newcontext, ctx)
	local cfg = known[ctx] and known[ctx].config;
	if not cfg or type(cfg.certificate) ~= "string" or select(2, unreadable(cfg.certificate)) == ENOENT then
		return nil;
	elseif not cfg.key or unreadable(cfg.key) then
		return fault(cfg, ("error loading private key (%s)"):format(cfg.key and unreadable(cfg.key) or "there is none"));
	end
	local again, err, file, why = new_context(newcontext, cfg);
	return not again and fault(cfg, why or err, file) or nil;
end

-- Whether a certificate with these names is good for a host
local function is_for(names, host)
	host = core.ascii_name(host);
	return names[host] or names[host:gsub("^[^.]+", "*", 1)] or false;
end

-- Whether the certificate of record can take the place of the one before, which has become bad: it must be for the host, if that
-- one was, or else have a name in common with it
local function can_replace(record, before, purpose)
	if not (record.names and before.names) then
		return false;
	elseif purpose and is_for(before.names, purpose) then
		return is_for(record.names, purpose);
	end
	for name in pairs(before.names) do
		if record.names[name] then return true; end
	end
	return false;
end

-- The context for a configuration, or the one that it would replace where its certificate has become bad | nil, why not
local function renewed(newcontext, cfg)
	local place, purpose = place_of(cfg);
	local last, same = last_of(place, cfg);
	local bad = last and not same and damage(newcontext, last);
	local ctx, record, file, why = new_context(newcontext, cfg);
	local kept = same or last;
	if not ctx then
		if not kept then
			return nil, record;
		end
		-- mod_tls would take the nil for its new context, and no longer offer STARTTLS
		say_kept(not cfg.certificate and bad or fault(cfg, why or record, file));
		return kept;
	elseif bad and not can_replace(record, known[last], purpose) then
		-- certmanager has taken another host's where it found none for this one
		say_kept(bad);
		return last;
	end
	known[ctx] = record;
	if cfg.certificate or cfg.certificates then
		remember(place, ctx);
	end
	return ctx;
end

local function wrap_newcontext(newcontext)
	return function (cfg)
		if type(cfg) ~= "table" then
			return newcontext(cfg);
		end
		return renewed(newcontext, cfg);
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
