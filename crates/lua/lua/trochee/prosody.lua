-- What there is only in Prosody: mod_trochee is found, and loaded.
--
-- Prosody asks for its network backend before it knows of modules. So the folder is added to those in which it will look, and the module
-- is loaded before the hosts are. Listed in modules_disabled, it is not.

local prosody = rawget(_G, "prosody");

if not prosody or prosody.process_type ~= "prosody" or not prosody.events then
	return;
end

local file = debug.getinfo(1, "S").source:match("^@(.*)$");
local plugins = file and file:gsub("[^/]*$", "").."plugins";

-- A relative path would mean another folder soon: Prosody changes to that of its data
if not plugins or plugins:sub(1, 1) ~= "/" then
	return;
end

local separator = package.config:sub(3, 3);
rawset(_G, "CFG_PLUGINDIR", (rawget(_G, "CFG_PLUGINDIR") or "plugins")..separator..plugins);

local function is_listed(option)
	local modules = require "core.configmanager".get("*", option);
	for _, name in ipairs(type(modules) == "table" and modules or {}) do
		if name == "trochee" then
			return true;
		end
	end
	return false;
end

prosody.events.add_handler("server-starting", function ()
	if not is_listed("modules_disabled") then
		require "core.modulemanager".load("*", "trochee");
	end
end, 10);
