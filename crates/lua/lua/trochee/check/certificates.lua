-- Every certificate that the configuration leads to: whether it serves with its key, its dates, names and chain, and what TLS will
-- not do of what is asked.
--
-- Prosody's certmanager makes the contexts, as mod_tls and portmanager have it do, and trochee builds them, as when it serves.

local config = require "core.configmanager";
local certmanager = require "core.certmanager";
local add_sink = require "util.logger".add_simple_sink;
local verify_identity = require "util.x509".verify_identity;

local has_luasec, ssl = pcall(require, "ssl");

local DAY = 24 * 60 * 60;
local SOON = 14 * DAY;

--- What is logged while a context is made

local remarks, errors = {}, {};

local function note(_, level, text)
	local remark = text:match "^TLS: (.*)";
	if remark then
		remarks[#remarks+1] = remark;
	elseif level == "error" then
		errors[#errors+1] = text;
	end
end

--- A file of certificates

local function name_of(parts)
	local texts = {};
	for i, part in ipairs(parts) do
		texts[i] = ("%s=%s"):format(part.name or part.oid, part.value);
	end
	return table.concat(texts, ", ");
end

local function certificates_in(path)
	local file, err = io.open(path);
	if not file then
		return nil, err;
	end
	local text = file:read("*a");
	file:close();
	local found = {};
	for pem in (text or ""):gmatch "%-%-%-%-%-BEGIN %u*%s?CERTIFICATE%-%-%-%-%-.-%-%-%-%-%-END %u*%s?CERTIFICATE%-%-%-%-%-" do
		local certificate = ssl.loadcertificate(pem);
		if certificate then
			found[#found+1] = certificate;
		end
	end
	return found;
end

-- Names of the authorities that this system trusts; read when somebody asks
local trusted;

local function is_trusted(name)
	if not trusted then
		trusted = {};
		for _, certificate in ipairs(certificates_in "/etc/ssl/certs/ca-certificates.crt" or {}) do
			trusted[name_of(certificate:subject())] = true;
		end
	end
	return trusted[name];
end

-- What the chain of the file ends in, and what is wrong with it: by level
local function chain(certificates)
	for i = 2, #certificates do
		if name_of(certificates[i-1]:issuer()) ~= name_of(certificates[i]:subject()) then
			return ("number %d in the file has not issued the one before it"):format(i), "problem",
				"put the certificates in order: the host's own, then each one's issuer";
		end
	end
	local last = certificates[#certificates];
	local issuer = name_of(last:issuer());
	if issuer == name_of(last:subject()) then
		return #certificates == 1 and "signed by itself" or ("chain of %d"):format(#certificates),
			#certificates == 1 and "advice", "only those who know it already trust it; get one of an authority for others";
	elseif is_trusted(issuer) then
		return ("chain of %d up to %s"):format(#certificates, issuer);
	end
	return ("chain of %d; the certificate of %s is missing"):format(#certificates, issuer), "advice",
		"append it, unless all who connect know it: whoever does not cannot trust this one";
end

local function dates(certificate)
	local now, until_when = os.time(), certificate:notafter();
	if not certificate:validat(now) then
		if certificate:validat(now + 3650 * DAY) or until_when == nil then
			return "not valid before "..certificate:notbefore(), "problem", "is the clock right?";
		end
		return "not valid now: from "..certificate:notbefore().." until "..until_when, "problem", "renew it";
	elseif not certificate:validat(now + SOON) then
		return "until "..until_when, "advice", "it ends within two weeks: renew it";
	end
	return "until "..until_when;
end

local function key(certificate)
	local _, kind, bits = certificate:pubkey();
	return ("%s key of %s bits"):format(tostring(kind), tostring(bits));
end

local function names(certificate, host)
	if not host or verify_identity(host, "_xmpp-client", certificate) or verify_identity(host, "_xmpp-server", certificate) then
		return nil;
	end
	return "not for this name", "problem", "get one whose names include "..host;
end

local severity = { ok = 0, advice = 1, problem = 2 };

-- One fact about a file, with the advice for the worst of what was found
local function describe(fact, subject, path, host)
	local certificates, err = certificates_in(path);
	local certificate = certificates and certificates[1];
	if not certificate then
		fact("problem", subject, ("%s: %s"):format(path, err or "no certificate in it can be read"), "mend the file");
		return;
	end
	local texts, worst, what_to_do = { key(certificate) }, "ok", nil;
	for _, found in ipairs {
		{ dates(certificate) };
		{ names(certificate, host) };
		{ chain(certificates) };
	} do
		texts[#texts+1] = found[1];
		if severity[found[2] or "ok"] > severity[worst] then
			worst, what_to_do = found[2], found[3];
		end
	end
	fact(worst, subject, ("%s: %s"):format(path, table.concat(texts, "; ")), what_to_do);
end

--- Contexts

-- What certmanager makes of a host or service | nil if it failed, which is told
local function try(fact, subject, consequence, ...)
	errors = {};
	local ctx, err, cfg = certmanager.create_context(...);
	if ctx then
		return cfg;
	end
	fact("problem", subject, errors[1] or tostring(err), consequence);
end

local function is_component(host)
	return config.get(host, "component_module") ~= nil;
end

local function of_host(fact, host)
	local subject = "certificate of "..host;
	local used;
	for _, prefix in ipairs { "c2s", "s2s" } do
		local option = prefix.."_ssl";
		local cfg = try(fact, subject, "until this is mended, STARTTLS is not offered", host, "server",
			config.rawget and config.rawget(host, option) or nil, config.rawget and config.rawget(host, "ssl") or nil,
			config.get("*", option), prefix == "s2s" and { verify = { "peer", "client_once" } } or nil);
		if not cfg then
			return;
		elseif not cfg.certificate then
			fact(is_component(host) and "advice" or "problem", subject, "none was found: STARTTLS is not offered",
				"put it where Prosody looks: prosodyctl --root cert import");
			return;
		elseif cfg.certificate ~= used and has_luasec then
			used = cfg.certificate;
			describe(fact, subject, used, host);
		end
	end
end

-- Services that are TLS from the first byte on, and the port that each has by default
local services = { c2s_direct_tls = false, legacy_ssl = false, s2s_direct_tls = false, https = 5281 };

local function is_web(name)
	return tostring(name):find "^http" or name == "bosh" or name == "websocket";
end

-- Whether mod_http is loaded: one of those that use it is enough
local function has_web()
	for host in pairs(config.getconfig()) do
		if is_web(config.get(host, "component_module")) then
			return true;
		end
		for _, name in pairs(config.get(host, "modules_enabled") or {}) do
			if is_web(name) then
				return true;
			end
		end
	end
end

local function of_service(fact, service, port)
	local subject = ("certificate of %s port %s"):format(service, port);
	local global = config.get("*", "ssl") or {};
	local own = config.get("*", service.."_ssl") or global;
	local cfg = try(fact, subject, "until this is mended, the port is not opened", ("%s port %s"):format(service, port), "server",
		own[port], own, {}, global[port]);
	if cfg and cfg.certificate and has_luasec then
		describe(fact, subject, cfg.certificate);
	elseif cfg and not cfg.certificate then
		fact("ok", subject, "that of the host which the client names");
	end
end

local function ports_of(service, default)
	local ports = config.get("*", service.."_ports");
	if ports == nil and default and has_web() then
		return { default };
	end
	return type(ports) == "table" and ports or { ports };
end

return function (fact)
	add_sink(note, { "info", "warn", "error" });
	local hosts, names_of_services = {}, {};
	for host, options in pairs(config.getconfig()) do
		if host ~= "*" and options.enabled ~= false then
			hosts[#hosts+1] = host;
		end
	end
	table.sort(hosts);
	for _, host in ipairs(hosts) do
		of_host(fact, host);
	end
	for service in pairs(services) do
		names_of_services[#names_of_services+1] = service;
	end
	table.sort(names_of_services);
	for _, service in ipairs(names_of_services) do
		for _, port in pairs(ports_of(service, services[service])) do
			of_service(fact, service, port);
		end
	end
	for _, remark in ipairs(remarks) do
		fact("ok", "TLS", remark);
	end
end
