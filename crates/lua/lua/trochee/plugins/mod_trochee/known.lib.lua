-- What Prosody knows of connections, beside what trochee knows: for the shell and for the statistics socket.

local portmanager = require "core.portmanager";
local state = require "trochee.state";

local core, handles = state.core, state.handles;

local known = {};

-- The names of Prosody's services by their listeners
function known.services()
	local names = {};
	for name, _, _, _, active in portmanager.get_active_services():iter(nil, nil, nil, nil) do
		names[active.server] = name;
	end
	return names;
end

-- The service that a connection came to; where it has no name, the port or the file of the socket; "outgoing" if we have begun it
function known.service(conn, services)
	local server = conn._server;
	if not server then
		return "outgoing";
	end
	local port = server.sockport;
	if services[server] or port and port ~= 0 then
		return services[server] or tostring(port);
	end
	return tostring(server.sockname):match("[^/]*$");
end

-- The user or server at the other end, by Prosody's sessions
function known.session(conn)
	for _, kind in ipairs { "c2s", "s2s", "component" } do
		local session = module:shared("/*/"..kind.."/sessions")[conn];
		if session then
			local name = session.full_jid
				or session.to_host and session.from_host and session.from_host.."->"..session.to_host
				or session.host;
			return tostring(name or "-").." ("..tostring(session.type)..")";
		end
	end
	return "-";
end

-- Every connection that has a handle, the oldest first: what the core knows of it, and the handle as conn
function known.connections()
	local found = {};
	for _, info in ipairs(core.connections()) do
		info.conn = handles[info.key];
		if info.conn then
			found[#found+1] = info;
		end
	end
	table.sort(found, function (a, b) return a.age > b.age; end);
	return found;
end

return known;
