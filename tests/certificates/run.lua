--[[
One subject and the whole corpus, or some of it: a chunk for the contract's harness, which has loaded the subject.

	lua5.4 crates/lua/spec/contract/run_item.lua --child SUBJECT tests/certificates/run.lua CORPUS RESULTS [PATTERN]

CORPUS is what make has made. RESULTS is written as JSON: { own = { [id] = result }, peers = { [id] = result } }. With a Lua PATTERN
only the cases run whose id it matches.

	own: { server, tls12, client = what became of it as a server, with a peer that has TLS 1.2 only, and as a client;
	       rsa, ecdsa = with a peer of TLS 1.2 that knows this only, where there are several certificates }
	       each is "served, N certificates", or "refused: why"
	peers: { [role] = { s2s, purpose, strict } }, where role is what the peer is. s2s is Prosody's verification between servers,
	       purpose the same without lsec_ignore_purpose: "valid" or all errors as "depth: text"; strict is verification without
	       lsec_continue: "accepted" or "refused: why".
	       Where the handshake fails without a verdict: "no handshake: why"
]]

local s, corpus, results_file, pattern = ...
local socket = require "socket"
local json = require "util.json"
local harness = require "harness"
local tls = require "tls_support" (s)

local here = debug.getinfo(1, "S").source:match("^@(.*)run%.lua$") or "./"
local patience = 30

local function wait(predicate)
	local deadline = s.now() + patience
	while true do
		local value = predicate()
		if value ~= nil or s.now() > deadline then return value end
		s.sleep(0)
	end
end

--- The far end

local far = {}

function far.start()
	tls.write_file(tls.dir.."/level0.cnf", [[
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = level
[level]
CipherString = DEFAULT@SECLEVEL=0
]])
	local listening = assert(socket.bind("127.0.0.1", 0))
	os.execute(("OPENSSL_CONF='%s/level0.cnf' lua5.4 '%speer.lua' %d '%s' </dev/null &"):format(
		tls.dir, here, select(2, listening:getsockname()), harness.source_dir))
	listening:settimeout(10)
	far.control = assert(listening:accept())
	listening:close()
	far.control:settimeout(0)
	far.buffer = ""
end

function far.order(order)
	far.control:settimeout(5)
	assert(far.control:send(json.encode(order).."\n"))
	far.control:settimeout(0)
end

function far.answer()
	return wait(function ()
		local data, _, partial = far.control:receive("*a")
		far.buffer = far.buffer..(data or partial or "")
		local line, rest = far.buffer:match("^([^\n]*)\n(.*)$")
		if line then
			far.buffer = rest
			return json.decode(line)
		end
	end)
end

--- Our end

-- "valid", or all that getpeerverification says
local function verification(conn)
	local sock = conn:socket()
	local valid, errors = sock:getpeerverification()
	if not sock:getpeercertificate() then
		return "no certificate"
	elseif valid then
		return "valid"
	elseif type(errors) ~= "table" then
		return tostring(errors)
	end
	local depths, texts = {}, {}
	for depth in pairs(errors) do table.insert(depths, depth) end
	table.sort(depths)
	for _, depth in ipairs(depths) do
		for _, text in ipairs(errors[depth]) do
			table.insert(texts, ("%d: %s"):format(depth - 1, text))
		end
	end
	return table.concat(texts, ", ")
end

-- A listeners table that keeps the first of onconnect and ondisconnect
local function watcher(judge)
	local seen = {}
	return seen, {
		onconnect = function (conn)
			if seen.outcome then return end
			local ok, text = pcall(judge, conn)
			seen.outcome = { text = ok and text or "error: "..tostring(text) }
			conn:close()
		end;
		onincoming = function () end;
		ondisconnect = function (_, err)
			seen.outcome = seen.outcome or { err = tostring(err) }
		end;
	}
end

-- -> { text } of judge or { err = ondisconnect's }, the far end's answer
local function as_server(ctx, judge, order)
	local seen, listeners = watcher(judge)
	local handle, port = tls.listen(listeners, ctx)
	order.role, order.port = "client", port
	far.order(order)
	local answer = far.answer()
	local outcome = wait(function () return seen.outcome end) or { err = "nothing happened" }
	handle:close()
	return outcome, answer or { why = "no answer" }
end

local function as_client(ctx, judge, order)
	local seen, listeners = watcher(judge)
	order.role = "server"
	far.order(order)
	local there = assert(far.answer(), "the far end does not listen")
	local conn, err = s.server.addclient("127.0.0.1", there.port, listeners, "*a", ctx)
	if not conn then
		seen.outcome = { err = tostring(err) }
	end
	local answer = far.answer()
	local outcome = wait(function () return seen.outcome end) or { err = "nothing happened" }
	return outcome, answer or { why = "no answer" }
end

--- The cases

local function plain(text)
	return (tostring(text):gsub(corpus.."/[%w_-]+/", ""))
end

local function context(cfg)
	local ok, ctx, err = pcall(tls.context, cfg)
	if not ok then return nil, "error: "..tostring(ctx) end
	return ctx, err
end

local options = { "no_sslv2", "no_sslv3", "no_compression" }

local function own_config(case, mode)
	local cfg = { mode = mode, protocol = "any", options = options }
	if #case.files == 1 then
		cfg.certificate, cfg.key, cfg.password = case.files[1].certificate, case.files[1].key, case.password
	else
		cfg.certificates = {}
		for i, pair in ipairs(case.files) do
			cfg.certificates[i] = { certificate = pair.certificate, key = pair.key, password = case.password }
		end
	end
	return cfg
end

local function served(outcome, answer)
	if answer.ok and not outcome.err then
		if not answer.sha256 then return "no certificate" end
		return ("served, %d certificate%s, %s"):format(answer.chain, answer.chain == 1 and "" or "s", answer.sha256:sub(1, 8))
	end
	return ("no handshake: %s; the peer: %s"):format(outcome.err or "-", answer.why or answer.ending or "-")
end

local function run_own(case)
	local result = {}
	local function nothing() return "" end
	local ctx, err = context(own_config(case, "server"))
	if not ctx then
		result.server = "refused: "..plain(err)
		result.tls12 = result.server
	else
		result.server = served(as_server(ctx, nothing, {}))
		result.tls12 = served(as_server(ctx, nothing, { protocol = "tlsv1_2" }))
		if case.files[2] then
			for name, ciphers in pairs { rsa = "aRSA", ecdsa = "aECDSA" } do
				result[name] = served(as_server(ctx, nothing, { protocol = "tlsv1_2", ciphers = ciphers }))
			end
		end
	end
	ctx, err = context(own_config(case, "client"))
	if not ctx then
		result.client = "refused: "..plain(err)
	else
		result.client = served(as_client(ctx, nothing, { certificate = corpus.."/far.crt", key = corpus.."/far.key" }))
	end
	return result
end

local kinds = {
	s2s = { "lsec_continue", "lsec_ignore_purpose" };
	purpose = { "lsec_continue" };
	strict = {};
}

local function run_peer(case)
	local result = { client = {}, server = {} }
	for kind, verifyext in pairs(kinds) do
		local function judge(conn)
			return kind == "strict" and "accepted" or verification(conn)
		end
		local function verdict(outcome, answer)
			if outcome.text == "accepted" and not answer.ok then
				return "accepted, and the peer: "..tostring(answer.why)
			elseif outcome.text then
				return outcome.text
			end
			return ("%s: %s"):format(kind == "strict" and "refused" or "no handshake", outcome.err), answer.ending or answer.why
		end
		local function configured(mode)
			local verify = mode == "server" and { "peer", "client_once", "fail_if_no_peer_cert" } or { "peer" }
			return {
				mode = mode, protocol = "any", options = options, verify = verify, verifyext = verifyext,
				cafile = case.cafile, capath = case.capath, depth = case.depth, certificate = corpus.."/far.crt", key = corpus.."/far.key",
			}
		end
		for role, runner in pairs { client = as_server, server = as_client } do
			local ctx, err = context(configured(role == "client" and "server" or "client"))
			if not ctx then
				result[role][kind] = "no context: "..plain(err)
			else
				local heard
				result[role][kind], heard = verdict(runner(ctx, judge, {
					certificate = case.chain, key = case.key, protocol = case.protocol,
				}))
				if kind ~= "strict" then result[role][kind.."_peer"] = heard end
			end
		end
	end
	return result
end

local function run()
	local cases = json.decode(tls.read_file(corpus.."/cases.json"))
	local results = { own = {}, peers = {} }
	for kind, one in pairs { own = run_own, peers = run_peer } do
		for _, case in ipairs(cases[kind]) do
			if not pattern or case.id:find(pattern) then
				results[kind][case.id] = one(case)
			end
		end
	end
	far.control:close()
	tls.write_file(results_file, json.encode(results).."\n")
end

far.start()
s.start(run)
s.loop()
