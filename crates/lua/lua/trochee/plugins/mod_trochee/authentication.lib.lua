-- Who has authenticated: the network layer cannot see it, and Prosody's events tell.

local portmanager = require "core.portmanager";

-- The services whose connections have to authenticate. HTTP has no such moment
local authenticating = {
	c2s = true, c2s_direct_tls = true, legacy_ssl = true;
	s2s = true, s2s_direct_tls = true;
	component = true;
};

-- Says of all ports whether their connections have to authenticate: false, they have to, or nil
local function ask(has)
	for name, _, _, _, active in portmanager.get_active_services():iter(nil, nil, nil, nil) do
		if authenticating[name] and active.server.set_authenticated then
			active.server:set_authenticated(has);
		end
	end
end

local function ask_all()
	ask(false);
end

-- Stock methods remain where a module has put an object of its own in the place of the connection
local function authenticated(event)
	local conn = event.session and event.session.conn;
	if conn and conn.set_authenticated then
		conn:set_authenticated(true);
	end
end

local function hook_host(host)
	local events = prosody.hosts[host].events;
	module:hook_object_event(events, "authentication-success", authenticated);
	-- Of those that log in without SASL
	module:hook_object_event(events, "resource-bind", authenticated);
	module:hook_object_event(events, "component-authenticated", authenticated);
end

module:hook("s2sin-established", authenticated);
-- A connection that is used in both directions
module:hook("s2sout-established", authenticated);
module:hook("service-added", ask_all);
-- Another service of that name may have taken its place
module:hook("service-removed", ask_all);
module:hook("host-activated", hook_host);

for host in pairs(prosody.hosts) do
	hook_host(host);
end
ask_all();

-- What to do at the end
return function ()
	ask(nil);
end
