-- Who has authenticated: the network layer cannot see it, and Prosody's events tell.

local http_server = require "net.http.server";
local portmanager = require "core.portmanager";

-- What the connections of a service have to do: authenticate (false), or make a request. HTTP has no other moment at which somebody
-- is known
local awaited = {
	c2s = false, c2s_direct_tls = false, legacy_ssl = false;
	s2s = false, s2s_direct_tls = false;
	component = false;
	http = "request", https = "request";
};

-- Says of all ports what their connections have to do: as above, or else of all the same
local function ask(what)
	for name, _, _, _, active in portmanager.get_active_services():iter(nil, nil, nil, nil) do
		if awaited[name] ~= nil and active.server.set_authenticated then
			active.server:set_authenticated(what[name]);
		end
	end
end

local function ask_all()
	ask(awaited);
end

-- Stock methods remain where a module has put an object of its own in the place of the connection
local function authenticated(event)
	local conn = event.session and event.session.conn;
	if conn and conn.set_authenticated then
		conn:set_authenticated(true);
	end
end

-- A request is complete, as far as Prosody wants it before it answers. Whoever asks for a WebSocket has to authenticate on it
local function requested(handlers, event_name, event)
	local conn = event.request and event.request.conn;
	if not (conn and conn.set_authenticated) then
		return handlers(event_name, event);
	end
	conn:set_authenticated(true);
	local result = handlers(event_name, event);
	if event.response and event.response.status_code == 101 then
		conn:set_authenticated(false);
	end
	return result;
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
module:wrap_object_event(http_server._events, false, requested);

for host in pairs(prosody.hosts) do
	hook_host(host);
end
ask_all();

-- What to do at the end
return function ()
	ask {};
end
