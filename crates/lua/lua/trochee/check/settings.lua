-- The network backend and its settings: unknown, wrong, misplaced, without effect.

local native = require "trochee";
local config = require "core.configmanager";
local reach_event = require "trochee.stock.event_names";

local all = config.getconfig();

local function sorted(names)
	table.sort(names);
	return names;
end

local function keys(of)
	local names = {};
	for name in pairs(of) do
		if type(name) == "string" then
			names[#names+1] = name;
		end
	end
	return sorted(names);
end

local function backend(fact)
	local name = require "net.server".get_backend();
	if package.loaded["net.server_trochee"] then
		fact("ok", "network backend", ("trochee %s, %s"):format(native._VERSION, name));
	else
		fact("problem", "network backend", ("Prosody's own (%s): trochee does not take its place"):format(name),
			"network_backend must be \"epoll\", \"event\", \"select\", \"trochee\" or absent");
	end
end

-- The settings in force when this configuration is loaded, by name; what is wrong is told. A reactor of its own has not
-- warned of anything yet
local function network_settings(fact, tell)
	local given = config.get("*", "network_settings");
	local in_force, messages = native.new().configure(given);
	for _, message in ipairs(messages) do
		fact("problem", "network_settings", message[2], "see docs/settings.md");
	end
	if #messages == 0 then
		fact("ok", "network_settings", given == nil and "none" or "understood");
	end
	for _, name in ipairs { "max_send_buffer_size", "tcp_backlog" } do
		tell("value", name, in_force[name] < math.huge and ("%d"):format(in_force[name]) or 0);
	end
	return in_force, type(given) == "table" and given or {};
end

-- Prosody has a list of what it passes on to a backend of this name
local function unreachable(fact, given)
	if not require "net.server".cfg then
		return;
	end
	local reached = {};
	for _, name in pairs(reach_event) do
		reached[name] = true;
	end
	for _, name in ipairs(keys(given)) do
		if not reached[name] then
			fact("problem", "network_settings", name.." has no effect: Prosody does not pass it on to a backend named \"event\"",
				"network_backend = \"epoll\", or remove the setting");
		end
	end
end

local ours = { "network_settings", "network_backend", "use_libevent" };

-- In the global section: what belongs into network_settings, and what was meant to be one of ours
local function misplaced_global(fact, in_force)
	for _, name in ipairs(keys(all["*"])) do
		local meant = native.similar(name, ours);
		if in_force[name] ~= nil or name == "poller" then
			fact("problem", name, "has no effect in the global section by itself",
				("network_settings = { %s = … }"):format(name));
		elseif meant then
			fact("problem", name, "is not an option that Prosody or trochee knows", "did you mean "..meant.."?");
		end
	end
end

local global_only = { network_settings = true, network_backend = true, use_libevent = true, gc = true, use_dane = true,
	tls_profile = true, certificates = true };

-- What counts in the global section only. `prosodyctl check config` looks after options that have nothing to do with the network
local function misplaced_in_hosts(fact, in_force)
	for _, host in ipairs(keys(all)) do
		for _, name in ipairs(host ~= "*" and keys(all[host]) or {}) do
			if global_only[name] or in_force[name] ~= nil or name:find "_ports$" or name:find "_interfaces$" then
				local setting = in_force[name] ~= nil and "into network_settings, " or "";
				fact("problem", name, ("has no effect below VirtualHost or Component \"%s\""):format(host),
					("move it %sabove the first VirtualHost"):format(setting));
			end
		end
	end
end

local function collector(fact)
	if config.get("*", "gc") ~= nil then
		fact("advice", "gc", "is set, so trochee leaves Lua's garbage collector alone",
			"remove it, unless you are short of memory: by Prosody's own numbers most of the time of a login goes into the collector");
	end
end

return function (fact, tell)
	backend(fact);
	local in_force, given = network_settings(fact, tell);
	unreachable(fact, given);
	misplaced_global(fact, in_force);
	misplaced_in_hosts(fact, in_force);
	collector(fact);
end
