-- The backend under the name of one of Prosody's own: what the modules in stock/ share.
--
-- Each of them takes settings in the way in which net/server.lua hands them to the stock backend of that name. The poller is
-- also that of the name, unless TROCHEE_POLLER names another.

local native = require "trochee";
local state = require "trochee.state";
local server = require "net.server_trochee";

local core, settings = state.core, state.settings;
local ipairs, pairs = ipairs, pairs;

local variable = os.getenv "TROCHEE_POLLER" or "";
local forced = variable ~= "" and variable or nil;

-- The module is a copy: Prosody writes into it
local function new(name, members)
	local module = {};
	for _, source in ipairs { server, members } do
		for key, value in pairs(source) do
			module[key] = value;
		end
	end
	-- Without trochee's name: it stands where Prosody and its users expect that of the poller alone
	module.get_backend = core.backend;
	-- prosodyctl prints what is logged, and serves nobody; but who has it check the configuration wants to know
	local prosody = rawget(_G, "prosody");
	local is_quiet = prosody and prosody.process_type == "prosodyctl" and not (arg and arg[1] == "check");
	local level = is_quiet and "debug" or "info";
	-- What is refused has been complained of
	if forced and (forced == "auto" or forced == core.backend():match("^%S+")) then
		state.log(level, "The backend \"%s\" is trochee %s, with the poller of TROCHEE_POLLER: %s", name, native._VERSION, forced);
	else
		state.log(level, "The backend \"%s\" is trochee %s", name, native._VERSION);
	end
	return module;
end

-- Applies some settings; the others stay as they are
local function change(changes, poller)
	local all = { poller = poller };
	for _, source in ipairs { settings, changes } do
		for name, value in pairs(source) do
			all[name] = value;
		end
	end
	state.configure(all);
end

return {
	forced = forced;
	new = new;
	change = change;
};
