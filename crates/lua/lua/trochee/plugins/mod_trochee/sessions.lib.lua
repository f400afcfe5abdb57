-- Whose session a connection has, by Prosody's own tables.

local kinds = { "c2s", "s2s", "component" };

local function session_of(conn)
	for _, kind in ipairs(kinds) do
		local session = module:shared("/*/"..kind.."/sessions")[conn];
		if session then
			return session;
		end
	end
end

-- The user or server at the other end, and how far it has got; nil for none
local function name(conn)
	local session = session_of(conn);
	if session then
		local name = session.full_jid
			or session.to_host and session.from_host and session.from_host.."->"..session.to_host
			or session.host;
		return tostring(name or "-").." ("..tostring(session.type)..")";
	end
end

-- What Prosody puts in front of what it logs of a session, as core.sessionmanager and mod_component make it where it has no id
local prefixes = { c2s = "c2s", component = "jcp" };

local function log_name(session)
	local prefix = prefixes[tostring(session.type):match("^[^_]*")];
	return session.id or prefix and prefix..(tostring(session):match("%x+$") or "");
end

return {
	name = name;
	-- The same with the name of the lines in the log: romeo@localhost/balcony (c2s), c2s55d0c3a8e0
	name_and_log = function (conn)
		local session = session_of(conn);
		local log = session and log_name(session);
		return session and name(conn)..(log and ", "..log or "");
	end;
};
