-- Modules that wait for somebody else inside of a callback. Nobody is served meanwhile, whatever the network backend.
--
-- The list is of modules of Prosody and of the public collections whose source was read; what they wait in is named.

local config = require "core.configmanager";

local waits = {
	auth_custom_http = "an HTTP request (socket.http)";
	auth_cyrus = "Cyrus SASL, such as saslauthd";
	auth_dovecot = "an answer of Dovecot (mod_net_dovecotauth is something else)";
	auth_external = "the program that it asks, unless external_auth_blocking = false";
	auth_imap = "an IMAP server";
	auth_ldap = "an LDAP server";
	auth_ldap2 = "an LDAP server";
	auth_oauthbearer = "an HTTPS request (ssl.https)";
	auth_pam = "PAM, which delays the answer to a wrong password";
	auth_sql = "the database";
	couchdb = "an HTTP request (socket.http)";
	s2s_auth_monkeysphere = "an HTTP request (socket.http)";
	storage_ldap = "an LDAP server";
	storage_mongodb = "the database";
};

-- Only a database of its own process answers at once
local function storage_sql(host)
	local driver;
	for _, name in ipairs { host, "*" } do
		local sql = config.get(name, "sql");
		driver = driver or type(sql) == "table" and sql.driver;
	end
	return driver and driver ~= "SQLite3" and ("the database (%s), at each access"):format(driver) or nil;
end

-- Calls found(name of the module, what it waits for) for what is enabled on a host
local function enabled(host, found)
	local names = {};
	local modules = config.get(host, "modules_enabled");
	for _, name in pairs(type(modules) == "table" and modules or {}) do
		names[#names+1] = name;
	end
	local authentication = config.get(host, "authentication");
	if type(authentication) == "string" then
		names[#names+1] = "auth_"..authentication;
	end
	local storage = config.get(host, "storage");
	for _, list in ipairs { type(storage) == "table" and storage or { storage }, { config.get(host, "default_storage") } } do
		for _, name in pairs(list) do
			names[#names+1] = "storage_"..tostring(name);
		end
	end
	for _, name in ipairs(names) do
		local on = name == "storage_sql" and storage_sql(host) or waits[name];
		if on then
			found("mod_"..name, on);
		end
	end
end

return function (fact)
	local said = {};
	for host in pairs(config.getconfig()) do
		enabled(host, function (name, on)
			if not said[name] then
				said[name] = true;
				fact("advice", name, "waits for "..on..", and nobody is served meanwhile",
					"keep what it waits for near and fast, or use a module that does not wait");
			end
		end);
	end
end
