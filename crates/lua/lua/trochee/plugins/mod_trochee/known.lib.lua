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

-- Every listener: what the core knows of it, and its service
function known.listeners()
	local found, services = {}, known.services();
	for _, info in ipairs(core.listeners()) do
		local listener = handles[info.key];
		info.service = listener and services[listener] or "-";
		info.key = nil;
		found[#found+1] = info;
	end
	table.sort(found, function (a, b)
		if a.service ~= b.service then
			return a.service < b.service;
		end
		return a.address..tostring(a.port) < b.address..tostring(b.port);
	end);
	return found;
end

local function session_of(conn)
	for _, kind in ipairs { "c2s", "s2s", "component" } do
		local session = module:shared("/*/"..kind.."/sessions")[conn];
		if session then
			return session;
		end
	end
end

local function describe(session)
	local name = session.full_jid
		or session.to_host and session.from_host and session.from_host.."->"..session.to_host
		or session.host;
	return tostring(name or "-").." ("..tostring(session.type)..")";
end

-- The user or server at the other end, by Prosody's sessions
function known.session(conn)
	local session = session_of(conn);
	return session and describe(session) or "-";
end

-- What the lines of a session begin with in the log, as core.sessionmanager and mod_component make it where the session has no id
local prefixes = { c2s = "c2s", component = "jcp" };

-- The same with the name that its lines have in the log: romeo@localhost/balcony (c2s), c2s55d0c3a8e0; nil where there is no session
function known.session_and_log(conn)
	local session = session_of(conn);
	if not session then
		return nil;
	end
	local prefix = prefixes[tostring(session.type):match("^[^_]*")];
	local log = session.id or prefix and prefix..(tostring(session):match("%x+$") or "");
	return describe(session)..(log and ", "..log or "");
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
